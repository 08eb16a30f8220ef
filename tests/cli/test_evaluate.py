"""`hybrid-ir evaluate` as users type it: our runs, anyone's models, corrections, and errors."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import pytrec_eval
import torch
from safetensors.torch import load_file

from hybrid_ir.cli.main import run_command
from hybrid_ir.runs import encoders
from hybrid_ir.runs.errors import USER_ERRORS, describe_error, report_errors_clearly
from hybrid_ir.runs.folder import lock_folder
from tests.support.in_process import hybrid_ir_in_process

DEV = "benchmark=[cldr_facts_dev]"
LESS = "benchmark.cldr_facts_dev.max_queries=20"


def found(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def macro(folder: Path) -> dict[str, float]:
    return {view: means["map"] for view, means in found(folder)["macro_over_settings"].items()}


@pytest.fixture(scope="module")
def evaluated(trained, place) -> Path:
    """The run of `trained` measured again, under every correction."""
    out = place / "evaluated"
    done = hybrid_ir_in_process(
        place,
        "evaluate",
        f"checkpoint={trained}",
        DEV,
        "postprocess=[none,center,lir,shift]",
        "postprocess_on=test",
        "run_depth=5",
        "save_embeddings=true",
        f"out={out}",
        "logger=wandb",
        WANDB_SILENT="true",
        WANDB_API_KEY="",
    )
    assert done.returncode == 0, done.stderr
    for shown in (
        "evaluation card",
        "one-target gap",
        "estimated on test",
        "mAP by query language",
    ):
        assert shown in done.stdout
    return out


def test_a_run_gives_the_numbers_of_its_own_end(trained, evaluated):
    first, again = found(trained), found(evaluated / "cldr_facts_dev")
    for view, means in first["macro_over_settings"].items():
        assert again["macro_over_settings"][view] == pytest.approx(means, abs=1e-9, nan_ok=True)
    assert again["language_bias"]["one_target"]["diagonal_gap"] == pytest.approx(
        first["language_bias"]["one_target"]["diagonal_gap"], abs=1e-9
    )
    cards = [
        json.loads((folder / "evaluation_card.json").read_text())
        for folder in (trained, evaluated / "cldr_facts_dev")
    ]
    for part in ("benchmark", "training", "tokenizer_canary", "similarity"):
        assert cards[0][part] == cards[1][part]


def test_each_correction_is_a_result_of_its_own(evaluated):
    values = [
        macro(evaluated / f"cldr_facts_dev{name}")["multi"]
        for name in ("", "-center", "-lir", "-shift")
    ]
    assert len(set(values)) == 4
    for name in ("center", "lir", "shift"):
        card = json.loads(
            (evaluated / f"cldr_facts_dev-{name}" / "evaluation_card.json").read_text()
        )
        assert card["postprocess"]["name"] == name and card["postprocess"]["estimated_on"] == "test"
    assert list((evaluated / "cldr_facts_dev-lir" / "wandb").glob("offline-run-*/*.wandb"))


def test_saved_embeddings_and_run_files_agree_with_the_ranks(evaluated):
    folder = evaluated / "cldr_facts_dev"
    shards = {
        stage: [load_file(path) for path in sorted((folder / "embeddings").glob(f"{stage}-*"))]
        for stage in ("queries", "relevant", "others")
    }
    queries = torch.cat([part["vectors"] for part in shards["queries"]])
    passages = {
        int(row): vector
        for stage in ("relevant", "others")
        for part in shards[stage]
        for row, vector in zip(part["rows"], part["vectors"], strict=True)
    }
    rows = sorted(passages)
    scores = (queries[0].double() @ torch.stack([passages[row] for row in rows]).double().T).numpy()
    run = [line.split() for line in (folder / "run.multi.trec").read_text().splitlines()]
    np.testing.assert_allclose(
        [float(line[4]) for line in run[:5]], np.sort(scores)[::-1][:5], atol=1e-9
    )
    wanted = {
        (line[0], line[2])
        for line in map(str.split, (folder / "qrels.multi.trec").read_text().splitlines())
    }
    best: dict[str, float] = {}
    for name, _, passage, rank, *_ in run:
        if (name, passage) in wanted:
            best.setdefault(name, 1 / int(rank))
    table = pq.read_table(folder / "per_query.parquet").to_pandas()
    table = table[table["view"] == "multi"]
    kept = {int(name.split(":")[-1]): value for name, value in best.items()}
    values = dict(zip(table["query"], table["mrr@10"], strict=True))
    assert kept and all(values[query] == pytest.approx(value) for query, value in kept.items())


def sentence_transformer(trained: Path, place: Path, prompts: dict[str, str]) -> Path:
    """A real sentence-transformers folder around the run's backbone, without its weights."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    backbone = next(
        path
        for path in (place / "cache" / "backbones").iterdir()
        if (path / "config.json").is_file()
    )
    transformer = Transformer(str(backbone))
    folder = place / f"st-{len(prompts)}"
    SentenceTransformer(
        modules=[
            transformer,
            Pooling(transformer.get_word_embedding_dimension(), "mean"),
            Normalize(),
        ],
        prompts=prompts,
    ).save(str(folder))
    return folder


def test_sentence_transformers_and_hugging_face_models_agree(trained, place):
    folder = sentence_transformer(trained, place, {"query": "Query: ", "passage": "Passage: "})
    lengths = ["query_max_length=64", "passage_max_length=64"]
    read = {
        "own": [],
        "given": ["pooling=mean", "query_prefix=Query: ", "passage_prefix=Passage: "],
        "other": ["query_prefix=", "passage_prefix="],
    }
    for name, choices in read.items():
        done = hybrid_ir_in_process(
            place,
            "evaluate",
            f"model={folder}",
            DEV,
            LESS,
            *lengths,
            *choices,
            f"out={place / name}",
        )
        assert done.returncode == 0, done.stderr
    own, given, other = (macro(place / name / "cldr_facts_dev") for name in read)
    # Its prompts and pooling are honoured; two libraries round differently, and a rank may swap.
    assert own == pytest.approx(given, abs=3e-5)
    assert abs(own["mono"] - other["mono"]) > 1e-4  # and an empty prompt is not the model's own
    cards = [
        json.loads((place / name / "cldr_facts_dev" / "evaluation_card.json").read_text())
        for name in read
    ]
    assert [card["model"]["kind"] for card in cards] == [
        "sentence_transformers",
        "transformers",
        "sentence_transformers",
    ]
    assert (
        cards[0]["reading"]["query_prefix"] == "Query: "
        and cards[2]["reading"]["query_prefix"] == ""
    )
    assert cards[0]["reading"]["passage_prefix"] == "Passage: "


def test_ctrl_c_is_no_traceback(capsys):
    with pytest.raises(SystemExit) as left, report_errors_clearly():
        raise KeyboardInterrupt
    assert left.value.code == 130 and capsys.readouterr().err.startswith("stopped")


def test_nothing_is_overwritten_and_a_file_is_no_folder(trained, place, monkeypatch):
    """Told before a model is loaded, for a corrected result too."""
    monkeypatch.setattr(encoders, "load_any_encoder", None)
    file = place / "taken" / "cldr_facts_dev-center" / "metrics.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    for out, said in ((place / "taken", "holds results already"), (file / "x", "is a file")):
        with pytest.raises(ValueError, match=said):
            run_command(
                "evaluate",
                [
                    f"checkpoint={trained}",
                    DEV,
                    "postprocess=[center]",
                    "postprocess_on=test",
                    f"out={out}",
                ],
            )


def test_a_folder_belongs_to_one_process_and_what_a_killed_one_hid_is_cleared(tmp_path):
    out = tmp_path / "out"
    (out / ".hybrid-ir-old").mkdir(parents=True)
    (out / ".hybrid-ir-old" / "vectors").write_text("x")
    holding = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"""
import sys, time
from pathlib import Path
from hybrid_ir.runs.folder import lock_folder
with lock_folder(Path({str(out)!r})):
    print("mine", flush=True)
    time.sleep(600)""",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holding.stdout.readline() == "mine\n" and not (out / ".hybrid-ir-old").exists()
        with pytest.raises(ValueError, match="another process is writing there"), lock_folder(out):
            pass
    finally:
        holding.kill()
        holding.wait()
    with lock_folder(out):  # a killed process holds nothing
        (out / "result").write_text("x")
    assert [path.name for path in out.iterdir()] == ["result"]
    with lock_folder(tmp_path / "empty"):
        pass
    assert not (tmp_path / "empty").exists()


def test_a_correction_estimated_on_another_split(trained, place):
    done = hybrid_ir_in_process(
        place,
        "evaluate",
        f"checkpoint={trained}",
        DEV,
        LESS,
        "postprocess=center",
        "postprocess_on=cldr_facts",
        f"out={place / 'elsewhere'}",
    )
    assert done.returncode == 0, done.stderr
    assert "center, estimated on cldr_facts" in done.stdout


def test_a_split_that_is_what_is_measured_is_called_test(trained, place, monkeypatch):
    monkeypatch.setenv("HYBRID_IR_CACHE", str(place / "cache"))
    run_command(
        "evaluate",
        [
            f"checkpoint={trained}",
            DEV,
            LESS,
            "postprocess=center",
            "postprocess_on=cldr_facts_dev",
            f"out={place / 'itself'}",
        ],
    )
    card = json.loads(
        (place / "itself" / "cldr_facts_dev-center" / "evaluation_card.json").read_text()
    )
    assert card["postprocess"]["estimated_on"] == "test"
    assert card["postprocess"]["estimated_from"]["query"]["en"] == 20


def test_long_passages_as_the_best_of_their_windows(trained, place):
    short = ["passage_max_length=12"]
    for policy in ("truncate", "max_passage"):
        done = hybrid_ir_in_process(
            place,
            "evaluate",
            f"checkpoint={trained}",
            DEV,
            LESS,
            *short,
            f"long_passages={policy}",
            f"out={place / policy}",
        )
        assert done.returncode == 0, done.stderr
    cards = [
        json.loads((place / policy / "cldr_facts_dev" / "evaluation_card.json").read_text())
        for policy in ("truncate", "max_passage")
    ]
    assert cards[0]["texts_cut"]["passage"] > 0.3 and cards[1]["texts_cut"]["passage"] == 0
    assert cards[1]["long_passages"]["windows"] > 0
    assert macro(place / "truncate" / "cldr_facts_dev") != macro(
        place / "max_passage" / "cldr_facts_dev"
    )


def folder_of_ones_own(place: Path) -> Path:
    """Two languages, a question that one of them cannot answer, and one without any answer."""
    folder = place / "own"
    folder.mkdir(exist_ok=True)
    passages = {
        "d1": ("en", "Paris is the capital of France"),
        "d2": ("en", "Berlin is the capital of Germany"),
        "d3": ("de", "Paris ist die Hauptstadt von Frankreich"),
        "d4": ("de", "Der Rhein ist ein Fluss"),
    }
    queries = {
        "q1": ("en", "What is the capital of France?"),
        "q2": ("de", "Was ist die Hauptstadt von Frankreich?"),
        "q3": ("en", "Which river?"),
        "q4": ("de", "nothing"),
    }
    for name, rows in (("corpus", passages), ("queries", queries)):
        lines = [
            json.dumps({"_id": key, "language": language, "text": text})
            for key, (language, text) in rows.items()
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    (folder / "qrels.tsv").write_text("q1\td1\t1\nq1\td3\t2\nq2\td3\t1\nq3\td4\t1\n")
    return folder


def test_a_folder_of_ones_own_and_what_it_leaves_out(trained, place):
    folder = folder_of_ones_own(place)
    choices = [
        "benchmark=[beir_folder]",
        f"benchmark.beir_folder.folder={folder}",
        f"out={place / 'own-results'}",
        "run_depth=4",
    ]
    done = hybrid_ir_in_process(place, "evaluate", f"checkpoint={trained}", *choices)
    assert done.returncode == 0, done.stderr
    assert "unjudged_queries=left out, 1 of 4" in " ".join(done.stdout.split())
    assert "left out: 1 of 3 queries have no relevant passage in their own language" in done.stdout
    results = found(place / "own-results" / "beir_folder")
    assert results["benchmark"]["queries_without_relevant"] == {"mono": 1, "cross": 1, "multi": 0}
    assert sum(row["queries"] for row in results["settings"] if row["view"] == "multi") == 3
    with (
        open(place / "own-results/beir_folder/qrels.multi.trec") as qrels,
        open(place / "own-results/beir_folder/run.multi.trec") as run,
    ):
        judged, ranked = pytrec_eval.parse_qrel(qrels), pytrec_eval.parse_run(run)
    oracle = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut_10"}).evaluate(ranked)
    graded = np.mean([found["ndcg_cut_10"] for found in oracle.values()])
    assert (
        results["micro_over_questions"]["multi"]["ndcg@10"] == pytest.approx(graded)
        and len(oracle) == 3
    )
    with open(folder / "qrels.tsv", "a") as file:
        file.write("q1\td9\t1\n")
    with pytest.raises(USER_ERRORS) as error:
        run_command("evaluate", [f"checkpoint={trained}", *choices, f"out={place / 'not-written'}"])
    assert "qrels.tsv, line 5: there is no passage 'd9'" in describe_error(error.value)


def test_real_pretrained_model_on_real_data(e5, shared, place):
    """Zero-shot e5 on English questions gives the values of sentence-transformers' own encode."""
    choices = [
        "benchmark=[xquad_r]",
        "benchmark.xquad_r.languages=[en]",
        "benchmark.xquad_r.max_queries=120",
        "query_prefix=query: ",
        "passage_prefix=passage: ",
        "query_max_length=256",
        "passage_max_length=256",
    ]
    for name, more in (("st", []), ("ours", ["pooling=mean"])):
        done = hybrid_ir_in_process(
            place,
            "evaluate",
            f"model={e5}",
            *choices,
            *more,
            f"out={place / name}",
            HYBRID_IR_DATA=str(shared / "data"),
        )
        assert done.returncode == 0, done.stderr
    assert macro(place / "st" / "xquad_r")["mono"] == pytest.approx(
        macro(place / "ours" / "xquad_r")["mono"], abs=1e-6
    )
    card = json.loads((place / "ours" / "xquad_r" / "evaluation_card.json").read_text())
    assert card["benchmark"]["pool"] == {"en": 1180} and card["benchmark"]["queries"] == 120


def poisoned(trained: Path, place: Path) -> Path:
    folder = place / "poisoned"
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("wandb"))
    for file in (folder / "checkpoints").glob("*.ckpt"):
        saved = torch.load(file, weights_only=True)
        saved["state_dict"]["encoder.backbone.embeddings.LayerNorm.weight"][0] = np.nan
        torch.save(saved, file)
    return folder


def test_weights_that_are_not_numbers_are_refused(trained, place):
    done = hybrid_ir_in_process(
        place,
        "evaluate",
        f"checkpoint={poisoned(trained, place)}",
        DEV,
        LESS,
        f"out={place / 'nan'}",
    )
    assert done.returncode == 2
    assert "the weight 'backbone.embeddings.LayerNorm.weight' has values that are" in done.stderr
    assert not (place / "nan").exists()


def flipped(path: Path) -> bytes:
    whole = bytearray(path.read_bytes())
    middle = slice(len(whole) // 2, len(whole) // 2 + 64)
    whole[middle] = bytes(255 - byte for byte in whole[middle])
    return bytes(whole)


@pytest.mark.parametrize(
    ("file", "damage", "said"),
    [
        ("checkpoints/best.ckpt", flipped, "best.ckpt cannot be read (the checksum of "),
        (
            "checkpoints/best.ckpt",
            lambda path: path.read_bytes()[:2000],
            "best.ckpt cannot be read (File is not a zip file)",
        ),
        ("checkpoints/best.ckpt", lambda path: b"", "best.ckpt cannot be read"),
        ("config.yaml", lambda path: b"a: [", "config.yaml is no YAML"),
        ("config.yaml", lambda path: b"", "config.yaml lacks the keys ['seed'"),
        ("batch_card.json", lambda path: b"{}", "batch_card.json is missing or damaged ('corpus')"),
    ],
)
def test_a_damaged_run_is_one_clear_error(trained, tmp_path, file, damage, said):
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / file).write_bytes(damage(tmp_path / "run" / file))
    with pytest.raises(ValueError) as error:
        run_command(
            "evaluate", [f"checkpoint={tmp_path / 'run'}", DEV, LESS, f"out={tmp_path / 'out'}"]
        )
    assert said in str(error.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["checkpoint=RUN"], "benchmark=[A,B,...] must name at least one"),
        (["checkpoint=RUN", "benchmark=[xquad]"], "benchmark=xquad must be one of beir_folder"),
        ([DEV], "say what to evaluate"),
        (["checkpoint=RUN", "model=x", DEV], "not both"),
        (["checkpoint=nowhere", DEV], "model='nowhere' is no run folder, no name in conf/model"),
        (["checkpoint=RUN", DEV, "postprocess=center"], "postprocess_on is missing"),
        (
            ["checkpoint=RUN", DEV, "postprocess=centre", "postprocess_on=test"],
            "postprocess=['centre'] must be at least one",
        ),
        (
            ["checkpoint=RUN", DEV, "postprocess=lir", "postprocess_on=nothing"],
            "postprocess_on=nothing must be one of test, ",
        ),
        (["checkpoint=RUN", DEV, "precision=fp8"], "precision='fp8' must be one of"),
        (["checkpoint=RUN", DEV, "long_passages=drop"], "long_passages='drop' must be one of"),
        (["checkpoint=RUN", DEV, "benchmark.cldr_facts_dev.max_queries=0"], "max_queries=0"),
        (["checkpoint=RUN", DEV, "benchmark.cldr_facts_dev.splitt=dev"], "splitt"),
        (["checkpoint=RUN", DEV, "test_checkpont=best"], "test_checkpont"),
        (
            ["checkpoint=RUN", DEV, "test_checkpoint=besst"],
            "test_checkpoint='besst' must be best or last",
        ),
        (
            [
                "checkpoint=RUN",
                DEV,
                "run_depth=abc",
                "texts_per_chunk=1.5",
                "save_embeddings=flase",
                "window_overlap=x",
            ],
            "run_depth='abc' must be a whole number from 0; texts_per_chunk=1.5 must be a whole "
            "number from 1; save_embeddings='flase' must be true or false; window_overlap='x' must",
        ),
        (["checkpoint=RUN", DEV, "postprocess=null"], "postprocess=[] must be at least one"),
        (
            ["checkpoint=RUN", DEV, "device=foo"],
            "device='foo' cannot be used here (Expected one of cpu, cuda",
        ),
        (["checkpoint=RUN", DEV, "device=meta"], "device='meta' cannot be used here"),
        (["model=tiny", DEV], "made from scratch when it is trained: give checkpoint=RUN"),
        (["model=labse", DEV], "could not be loaded"),
        (["model=./nowhere", DEV], "'./nowhere' does not exist"),
        (["checkpoint=/no/such/run", DEV], "'/no/such/run' does not exist"),
        (
            ["checkpoint=RUN/checkpoints/third.ckpt", DEV],
            "third.ckpt' is neither a checkpoint nor a run folder",
        ),
        (
            ["checkpoint=RUN", DEV, "seed=99999999999999"],
            "seed=99999999999999 must be a whole number from 0 to 4294967295",
        ),
        (
            ["checkpoint=RUN", DEV, "threads=1000000"],
            "threads=1000000 must be auto, or a whole number from 1 to ",
        ),
        (["checkpoint=RUN", DEV, "savee=1"], "--help lists the keys"),
        (["checkpoint=RUN", DEV, "test_checkpoint=bset"], "test_checkpoint"),
        (
            ["checkpoint=RUN", DEV, "postprocess_on=cldr_facts"],
            "postprocess_on=cldr_facts changes nothing without a correction",
        ),
        (
            ["checkpoint=RUN", DEV, "postprocess_components=3"],
            "postprocess_components=3 is for postprocess=lir alone",
        ),
        (["checkpoint=", DEV], "say what to evaluate"),
        (
            ["checkpoint=RUN", DEV, "window_overlap=0.3"],
            "window_overlap=0.3 changes nothing where long passages are cut",
        ),
        (
            ["checkpoint=RUN/checkpoints/last.ckpt", DEV, "test_checkpoint=last"],
            "test_checkpoint=last chooses in a run folder",
        ),
        (["checkpoint=RUN", DEV, "benchmark=xquad_r"], "benchmark is given twice"),
        (["checkpoint=RUN", "benchmark.max_queries=2"], "no benchmark is chosen"),
        (["checkpoint=RUN", DEV, "split=dev"], "split=dev is no key of its own"),
        (
            [
                "checkpoint=RUN",
                DEV,
                "postprocess=center",
                "postprocess_on=cldr_facts_dev",
                "split.cldr_facts_dev.max_queries=5",
            ],
            "its keys are benchmark.cldr_facts_dev.KEY",
        ),
    ],
)
def test_bad_input_is_one_clear_error(trained, place, monkeypatch, arguments, said):
    monkeypatch.setenv("HYBRID_IR_CACHE", str(place / "cache"))
    arguments = [argument.replace("RUN", str(trained)) for argument in arguments]
    with pytest.raises(USER_ERRORS) as error:
        run_command("evaluate", [*arguments, f"out={place / 'bad-evaluation'}"])
    assert said in describe_error(error.value)
    assert not (place / "bad-evaluation").exists()
