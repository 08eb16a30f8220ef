"""Belebele: 900 questions over 488 passages, all parallel in 122 language variants (2308.16884)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hybrid_ir.evaluation.benchmarks.judged import Query, chosen_languages, some
from hybrid_ir.files.fetching import RemoteFile, hub_file
from hybrid_ir.files.json_lines import get_text_field, read_objects
from hybrid_ir.files.problems import Problems
from hybrid_ir.types import Benchmark, Source

REPOSITORY, REVISION = "facebook/belebele", "75b399394a9803252cfec289d103de462763db7c"
SOURCE = Source(
    name="belebele",
    description="Belebele: 900 questions over 488 passages, parallel in up to 122 language variants",
    licence="CC BY-SA 4.0",
    citation="Bandarkar et al. 2024, The Belebele Benchmark, arXiv 2308.16884",
    revision=f"{REPOSITORY}@{REVISION[:7]}",
)
QUESTIONS, PASSAGES = 900, 488  # of every variant
CODES = """
acm_Arab afr_Latn als_Latn amh_Ethi apc_Arab arb_Arab arb_Latn ars_Arab ary_Arab arz_Arab asm_Beng azj_Latn bam_Latn
ben_Beng ben_Latn bod_Tibt bul_Cyrl cat_Latn ceb_Latn ces_Latn ckb_Arab dan_Latn deu_Latn ell_Grek eng_Latn est_Latn
eus_Latn fin_Latn fra_Latn fuv_Latn gaz_Latn grn_Latn guj_Gujr hat_Latn hau_Latn heb_Hebr hin_Deva hin_Latn hrv_Latn
hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn isl_Latn ita_Latn jav_Latn jpn_Jpan kac_Latn kan_Knda kat_Geor kaz_Cyrl
kea_Latn khk_Cyrl khm_Khmr kin_Latn kir_Cyrl kor_Hang lao_Laoo lin_Latn lit_Latn lug_Latn luo_Latn lvs_Latn mal_Mlym
mar_Deva mkd_Cyrl mlt_Latn mri_Latn mya_Mymr nld_Latn nob_Latn npi_Deva npi_Latn nso_Latn nya_Latn ory_Orya pan_Guru
pbt_Arab pes_Arab plt_Latn pol_Latn por_Latn ron_Latn rus_Cyrl shn_Mymr sin_Latn sin_Sinh slk_Latn slv_Latn sna_Latn
snd_Arab som_Latn sot_Latn spa_Latn srp_Cyrl ssw_Latn sun_Latn swe_Latn swh_Latn tam_Taml tel_Telu tgk_Cyrl tgl_Latn
tha_Thai tir_Ethi tsn_Latn tso_Latn tur_Latn ukr_Cyrl urd_Arab urd_Latn uzn_Latn vie_Latn war_Latn wol_Latn xho_Latn
yor_Latn zho_Hans zho_Hant zsm_Latn zul_Latn
"""
VARIANTS = CODES.split()


@dataclass(frozen=True)
class Variant:
    """The passages and questions of one variant, by the link that its translations share."""

    passages: dict[str, str]  # link -> text
    queries: list[Query]
    links: list[str]  # of each query


def files(languages: str | Sequence[str] | None = None) -> list[RemoteFile]:
    """One file per variant."""
    chosen = chosen_languages("belebele", languages, VARIANTS, None)
    return [hub_file(REPOSITORY, REVISION, f"data/{name}.jsonl") for name in chosen]


def load(
    folder: str, languages: str | list[str] | None = None, max_queries: int | None = None
) -> Benchmark:
    """Belebele from a folder with `data/VARIANT.jsonl`; variants go by their FLORES codes, for example `eng_Latn`.

    A question asks for its passage in every variant that is loaded. ValueError for lines that are broken and files that are
    not the released ones.
    """
    chosen = chosen_languages("belebele", languages, VARIANTS, max_queries)
    problems = Problems(f"{folder} (hybrid-ir data fetch belebele gets it)")
    variants = {
        name: _read(Path(folder) / "data" / f"{name}.jsonl", name, problems) for name in chosen
    }
    links = sorted({link for variant in variants.values() for link in variant.passages})
    problems.stop()
    for name, variant in variants.items():
        absent = [link for link in links if link not in variant.passages]
        if absent:
            problems.add(
                f"{name} lacks {len(absent)} passages that other variants have, first {absent[0]!r}"
            )
    problems.stop()
    return _benchmark(variants, links, max_queries)


def _read(path: Path, name: str, problems: Problems) -> Variant:
    before, variant, seen = problems.number, Variant({}, [], []), {}
    for line, row in read_objects(path, problems):
        where = f"{path}, line {line}"
        link, text, question = (
            get_text_field(row, key, where, problems)
            for key in ("link", "flores_passage", "question")
        )
        number = row.get("question_number")
        if not isinstance(number, int | str):
            problems.add(f"{where}: 'question_number' is {number!r:.40}, need a number")
        if None in (link, text, question):
            continue
        question_id = f"{link}#{number}"
        if question_id in seen:
            problems.add(
                f"{where}: question {number} on {link} is also in line {seen[question_id]}"
            )
        seen.setdefault(question_id, line)
        variant.passages.setdefault(link, text)
        variant.queries.append(Query(name, question_id, question, question_id, where))
        variant.links.append(link)
    found = (len(variant.queries), len(variant.passages))
    if problems.number == before and found != (QUESTIONS, PASSAGES):
        problems.add(
            f"{path} has {found[0]} questions on {found[1]} passages, released are {QUESTIONS} on {PASSAGES}: "
            "fetch it again"
        )
    return variant


def _benchmark(
    variants: dict[str, Variant], links: Sequence[str], max_queries: int | None
) -> Benchmark:
    """Passages in the same order in every variant, so the translations of passage i stand len(links) rows apart."""
    names = tuple(variants)
    answers = {link: np.arange(len(names)) * len(links) + row for row, link in enumerate(links)}
    link_of = {
        query.id: link
        for variant in variants.values()
        for query, link in zip(variant.queries, variant.links, strict=True)
    }
    asked = [query for variant in variants.values() for query in some(variant.queries, max_queries)]
    return Benchmark(
        languages=names,
        queries=[query.text for query in asked],
        query_languages=np.array([names.index(query.language) for query in asked]),
        question_ids=[query.question_id for query in asked],
        passages=[variants[name].passages[link] for name in names for link in links],
        passage_languages=np.repeat(np.arange(len(names)), len(links)),
        passage_ids=[f"{name}:{row}" for name in names for row in range(len(links))],
        relevant=[answers[link_of[query.id]] for query in asked],
        source=replace(SOURCE, choices={"max_queries": str(max_queries or "all")}),
    )
