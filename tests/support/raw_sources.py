"""Small copies of the training sources in their raw formats, and the pairs that they give."""

import gzip
import io
import json
import tarfile
import zipfile

import pyarrow as pa

from tests.support.raw_data import encode_json_lines, encode_parquet


def encode_columns(**columns) -> bytes:
    """Returns a Parquet file with these columns."""
    return encode_parquet(pa.table(columns).to_pylist())


def compress_lines(*rows: dict) -> bytes:
    return gzip.compress(encode_json_lines(*rows))


def build_archive(**rows: list[tuple[str, str, str]]) -> bytes:
    """Returns MLQA's archive of translations: id, question and paragraph of each, by language."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for language, questions in rows.items():
            paragraphs = []
            for name, question, context in questions:
                answered = {"id": name, "question": question, "answers": []}
                paragraphs.append({"context": context, "qas": [answered]})
            content = json.dumps({"data": [{"paragraphs": paragraphs}]}).encode()
            name = f"mlqa-translate-train/{language}_squad-translate-train-train-v1.1.json"
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def build_passage(name: str) -> dict:
    return {"docid": name, "title": f"T{name}", "text": f"text {name}"}


def encode_swim_ir(language: str, number: int) -> bytes:
    """Returns a Parquet file of SWIM-IR with one question."""
    return encode_columns(
        _id=[f"{language}{number}"],
        lang=["x"],
        code=[language],
        query=[f"{language} asks {number}"],
        title=["T"],
        text=[f"tells {number}"],
    )


MARCO = {
    "data/triples.train.ids.small.tsv": b"7\t1\t2\n7\t1\t3\n9\t3\t1\n7\t1\t2\n",
    "data/google/queries/train/english_queries.train.tsv": b'9\tq9\n7\tq7 "quoted\n8\tunused\n',
    "data/google/queries/train/chinese_queries.train.tsv": "7\t问7\n9\t问9\n".encode(),
    "data/google/collections/english_collection.tsv": b"0\tunused\n1\tp1\n2\tp2\n3\tp3\n",
    "data/google/collections/chinese_collection.tsv": "3\t三\n1\t一\n2\t\n".encode(),
}  # in another order, one of them empty
# The choices for a data set, its files by their paths, and the pairs that they give.
SETS = {
    "squad": (
        [],
        {
            "plain_text/train-00000-of-00001.parquet": encode_columns(
                id=["a", "b"], title=["T", "T"], context=["c", "c"], question=["q", "r"]
            )
        },
        [[{"en": "q"}, {"en": "c"}, []], [{"en": "r"}, {"en": "c"}, []]],
    ),
    "natural_questions": (
        [],
        {"pair/train-00000-of-00001.parquet": encode_columns(query=["q"], answer=["a"])},
        [[{"en": "q"}, {"en": "a"}, []]],
    ),
    "wiki_qa": (
        [],
        {
            "data/train-00000-of-00001.parquet": encode_columns(
                question_id=["1", "1"],
                question=["q", "q"],
                document_title=["T", "T"],
                answer=["no", "yes"],
                label=[0, 1],
            )
        },
        [[{"en": "q"}, {"en": "yes"}, []]],
    ),
    "duorc": (
        [],
        {
            "SelfRC/train-00000-of-00001.parquet": encode_columns(
                plot_id=["p", "p"],
                plot=["plot", "plot"],
                question_id=["1", "2"],
                question=["q", "r"],
                no_answer=[False, True],
            )
        },
        [[{"en": "q"}, {"en": "plot"}, []]],
    ),
    "newsqa": (
        [],
        {
            "data/train-00000-of-00001-ec54fbe500fc3b5c.parquet": encode_columns(
                context=["c"], question=["q"], key=["k"]
            )
        },
        [[{"en": "q"}, {"en": "c"}, []]],
    ),
    "yahoo_answers": (
        [],
        {
            f"title-answer-pair/train-0000{i}-of-00002.parquet": encode_columns(
                title=[f"q{i}"], answer=[f"a{i}"]
            )
            for i in range(2)
        },
        [[{"en": "q0"}, {"en": "a0"}, []], [{"en": "q1"}, {"en": "a1"}, []]],
    ),
    "mfaq": (
        ["languages=[de,en]"],
        {
            "data/en/train.jsonl": encode_json_lines(
                {
                    "id": 1,
                    "domain": "x",
                    "qa_pairs": [
                        {"question": "q", "answer": "a"},
                        {"question": "r", "answer": " "},
                    ],
                }
            ),
            "data/de/train.jsonl": encode_json_lines(
                {"id": 1, "domain": "x", "qa_pairs": [{"question": "f", "answer": "g"}]}, {"id": 2}
            ),
        },
        [[{"de": "f"}, {"de": "g"}, []], [{"en": "q"}, {"en": "a"}, []]],
    ),
    "swim_ir": (
        ["languages=[de,zh]"],
        {
            "de/train-00000-of-00002.parquet": encode_swim_ir("de", 0),
            "de/train-00001-of-00002.parquet": encode_swim_ir("de", 1),
            "zh/train-00000-of-00002.parquet": encode_swim_ir("zh", 0),
            "zh/train-00001-of-00002.parquet": encode_swim_ir("zh", 1),
        },
        [
            [{"de": "de asks 0"}, {"en": "T tells 0"}, []],
            [{"de": "de asks 1"}, {"en": "T tells 1"}, []],
            [{"zh": "zh asks 0"}, {"en": "T tells 0"}, []],
            [{"zh": "zh asks 1"}, {"en": "T tells 1"}, []],
        ],
    ),
    "mr_tydi": (
        ["languages=[en,th]", "negatives=1"],
        {
            "mrtydi-v1.1-english/train.jsonl.gz": compress_lines(
                {
                    "query_id": "1",
                    "query": "q",
                    "positive_passages": [build_passage("a")],
                    "negative_passages": [build_passage("b"), build_passage("c")],
                }
            ),
            "mrtydi-v1.1-thai/train.jsonl.gz": compress_lines(
                {
                    "query_id": "1",
                    "query": "ถาม",
                    "negative_passages": [],
                    "positive_passages": [build_passage("a"), build_passage("d")],
                },
                {"query_id": "2"},
            ),
        },
        [
            [{"en": "q"}, {"en": "Ta text a"}, [{"en": "Tb text b"}]],
            [{"th": "ถาม"}, {"th": "Ta text a"}, []],
            [{"th": "ถาม"}, {"th": "Td text d"}, []],
        ],
    ),
    "miracl_train": (
        ["languages=[sw]"],
        {
            "miracl-v1.0-sw/topics/topics.miracl-v1.0-sw-train.tsv": b"1\tbara gani?\n",
            "miracl-v1.0-sw/qrels/qrels.miracl-v1.0-sw-train.tsv": (
                b"1\tQ0\ta#0\t1\n1\tQ0\tb#0\t0\n"
            ),
            "miracl-corpus-v1.0-sw/docs-0.jsonl.gz": compress_lines(
                *map(build_passage, ("z#9", "a#0", "b#0"))
            ),
        },
        [[{"sw": "bara gani?"}, {"sw": "Ta#0 text a#0"}, [{"sw": "Tb#0 text b#0"}]]],
    ),
    "mlqa_translate_train": (
        ["languages=[de,en,zh]"],
        {
            "plain_text/train-00000-of-00001.parquet": encode_columns(
                id=["a", "b"], question=["q", "r"], context=["c", "d"]
            ),
            "mlqa-translate-train.tar.gz": build_archive(
                de=[("b", "Fb", "Db")], zh=[("a", "问", "文"), ("b", "问b", "文b")]
            ),
        },
        [
            [{"en": "q", "zh": "问"}, {"en": "c", "zh": "文"}, []],
            [{"de": "Fb", "en": "r", "zh": "问b"}, {"de": "Db", "en": "d", "zh": "文b"}, []],
        ],
    ),
    "mmarco": (
        ["languages=[en,zh]", "negatives=2"],
        MARCO,
        [
            [
                {"en": 'q7 "quoted', "zh": "问7"},
                {"en": "p1", "zh": "一"},
                [{"en": "p2"}, {"en": "p3", "zh": "三"}],
            ],
            [{"en": "q9", "zh": "问9"}, {"en": "p3", "zh": "三"}, [{"en": "p1", "zh": "一"}]],
        ],
    ),
}

ENTITY_QUESTIONS = {
    "dataset/train/P19.train.json": [
        {"question": "Where was Ada King born?", "answers": ["LONDON"]},
        {"question": 'Where was "Weird Al" Yankovic born?', "answers": ["US", "California"]},
        {"question": "Where was Nobody born?", "answers": ["X"]},
        {"question": "Who?", "answers": ["X"]},
    ],
    "dataset/train/P40.train.json": [
        {"question": "Who is Ada King's child?", "answers": ["Anne"]},
    ],
    "dataset/dev/P19.dev.json": [
        {"question": "Where was Ada born?", "answers": ["London"]},
    ],
    "dataset/train/P999.train.json": [
        {"question": "Whose is Ada King Bridge?", "answers": ["Kent"]},
    ],
}
PASSAGES = '''id\ttext\ttitle
1\t"Ada is a name in London"\tAda
2\tShe lived near Londonderry\tAda King
3\t"Born in ""London"" in 1815"\tAda King
4\tLondon again\tAda King
no passage
6\tHad Anne\tAda King
5\tIn Kent\tAda King Bridge
7\tIn the USSR\t"""Weird Al"" Yankovic"
8\tIn california.\t"""Weird Al"" Yankovic"
'''


def build_entity_questions_archive() -> bytes:
    """Returns the archive of EntityQuestions, with what the archiver of a Mac adds."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, questions in ENTITY_QUESTIONS.items():
            archive.writestr(name, json.dumps(questions))
        archive.writestr("__MACOSX/dataset/train/._P19.train.json", b"\0")  # no JSON
    return content.getvalue()
