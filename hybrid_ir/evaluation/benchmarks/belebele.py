"""Belebele: 900 questions on 488 passages, parallel in 122 language variants (2308.16884)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hybrid_ir.evaluation.benchmarks.builder import BenchmarkBuilder, Query
from hybrid_ir.evaluation.benchmarks.choices import choose_languages, record_choices
from hybrid_ir.files.fetching import RemoteFile, describe_hub_file
from hybrid_ir.files.json_lines import get_text_field, read_objects
from hybrid_ir.files.problems import Problems
from hybrid_ir.types import Benchmark, Source

REPOSITORY = "facebook/belebele"
REVISION = "75b399394a9803252cfec289d103de462763db7c"
SOURCE = Source(
    name="belebele",
    description=(
        "Belebele: 900 questions over 488 passages, parallel in up to 122 language variants"
    ),
    licence="CC BY-SA 4.0",
    citation="Bandarkar et al. 2024, The Belebele Benchmark, arXiv 2308.16884",
    revision=f"{REPOSITORY}@{REVISION[:7]}",
)
QUESTIONS = 900  # of every variant
PASSAGES = 488  # of every variant
FILES_NAMED = 3  # of those that are missing
CODES = """
acm_Arab afr_Latn als_Latn amh_Ethi apc_Arab arb_Arab arb_Latn ars_Arab ary_Arab arz_Arab asm_Beng
azj_Latn bam_Latn ben_Beng ben_Latn bod_Tibt bul_Cyrl cat_Latn ceb_Latn ces_Latn ckb_Arab dan_Latn
deu_Latn ell_Grek eng_Latn est_Latn eus_Latn fin_Latn fra_Latn fuv_Latn gaz_Latn grn_Latn guj_Gujr
hat_Latn hau_Latn heb_Hebr hin_Deva hin_Latn hrv_Latn hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn
isl_Latn ita_Latn jav_Latn jpn_Jpan kac_Latn kan_Knda kat_Geor kaz_Cyrl kea_Latn khk_Cyrl khm_Khmr
kin_Latn kir_Cyrl kor_Hang lao_Laoo lin_Latn lit_Latn lug_Latn luo_Latn lvs_Latn mal_Mlym mar_Deva
mkd_Cyrl mlt_Latn mri_Latn mya_Mymr nld_Latn nob_Latn npi_Deva npi_Latn nso_Latn nya_Latn ory_Orya
pan_Guru pbt_Arab pes_Arab plt_Latn pol_Latn por_Latn ron_Latn rus_Cyrl shn_Mymr sin_Latn sin_Sinh
slk_Latn slv_Latn sna_Latn snd_Arab som_Latn sot_Latn spa_Latn srp_Cyrl ssw_Latn sun_Latn swe_Latn
swh_Latn tam_Taml tel_Telu tgk_Cyrl tgl_Latn tha_Thai tir_Ethi tsn_Latn tso_Latn tur_Latn ukr_Cyrl
urd_Arab urd_Latn uzn_Latn vie_Latn war_Latn wol_Latn xho_Latn yor_Latn zho_Hans zho_Hant zsm_Latn
zul_Latn
"""
VARIANTS = CODES.split()


def list_files(languages: str | Sequence[str] | None = None) -> list[RemoteFile]:
    """Lists one file per variant."""
    variants = choose_languages("belebele", languages, VARIANTS)
    return [
        describe_hub_file(REPOSITORY, REVISION, f"data/{variant}.jsonl") for variant in variants
    ]


def load(
    folder: str, languages: str | list[str] | None = None, max_queries: int | None = None
) -> Benchmark:
    """Loads Belebele, in which a question asks for its passage in every variant that is loaded.

    Args:
        folder: with a file `data/VARIANT.jsonl` of each variant.
        languages: variants by their FLORES codes, for example `eng_Latn`; None for all.
        max_queries: questions to keep of each variant, the same in every variant.

    Raises:
        ValueError: files are missing or not the released ones, or lines are broken.
    """
    variants = choose_languages("belebele", languages, VARIANTS, max_queries)
    problems = Problems(f"{folder} (hybrid-ir data fetch belebele gets it)")
    builder = BenchmarkBuilder(record_choices(SOURCE, max_queries=max_queries), problems)
    paths = {variant: Path(folder) / "data" / f"{variant}.jsonl" for variant in variants}
    passages = {}
    for variant, path in _report_missing_files(paths, problems).items():
        passages[variant] = _read_variant(path, variant, builder)
    problems.raise_if_any()
    links = _list_shared_links(passages, problems)
    problems.raise_if_any()
    for variant in variants:
        for row, link in enumerate(links):
            builder.add_passage(variant, f"{variant}:{row}", passages[variant][link], [link])
    return builder.build(variants, max_queries)


def _report_missing_files(paths: Mapping[str, Path], problems: Problems) -> dict[str, Path]:
    """Adds one problem for all files that are missing; returns the others, by their variants."""
    found = {variant: path for variant, path in paths.items() if path.is_file()}
    missing = [str(path) for variant, path in paths.items() if variant not in found]
    if len(missing) == 1:
        problems.add(f"{missing[0]} is missing")
    elif missing:
        names = ", ".join(missing[:FILES_NAMED])
        more = ", ..." if len(missing) > FILES_NAMED else ""
        problems.add(f"{len(missing)} of {len(paths)} files are missing: {names}{more}")
    return found


def _read_variant(path: Path, variant: str, builder: BenchmarkBuilder) -> dict[str, str]:
    """Adds the queries of a variant to the builder; returns its passages by their links.

    The translations of a passage have the same link.
    """
    problems = builder.problems
    problems_before = problems.number
    queries = 0
    passages: dict[str, str] = {}
    for line, row in read_objects(path, problems):
        where = f"{path}, line {line}"
        link = get_text_field(row, "link", where, problems)
        text = get_text_field(row, "flores_passage", where, problems)
        question = get_text_field(row, "question", where, problems)
        number = row.get("question_number")
        if not isinstance(number, int | str):
            problems.add(f"{where}: 'question_number' is {number!r:.40}, need a number")
        if link is None or text is None or question is None:
            continue
        question_id = f"{link}#{number}"
        query_id = f"{variant}:{question_id}"
        builder.add_query(Query(variant, query_id, question, question_id, where, (link,)))
        queries += 1
        passages.setdefault(link, text)
    is_released = queries == QUESTIONS and len(passages) == PASSAGES
    if problems.number == problems_before and not is_released:
        problems.add(
            f"{path} has {queries} questions on {len(passages)} passages, released are "
            f"{QUESTIONS} on {PASSAGES}: fetch it again"
        )
    return passages


def _list_shared_links(
    passages: Mapping[str, Mapping[str, str]], problems: Problems
) -> Sequence[str]:
    """Returns the links of all variants, sorted; a variant that lacks some of them is a problem."""
    all_links: set[str] = set()
    for variant_passages in passages.values():
        all_links.update(variant_passages)
    links = sorted(all_links)
    for variant, variant_passages in passages.items():
        missing = [link for link in links if link not in variant_passages]
        if missing:
            problems.add(
                f"{variant} lacks {len(missing)} passages that other variants have, first "
                f"{missing[0]!r}"
            )
    return links
