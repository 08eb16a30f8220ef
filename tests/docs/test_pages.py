"""The commands of the tutorial and the how-to pages run as they are printed."""

import json
import re
from pathlib import Path

import pyarrow.parquet
import pytest

from tests.support.command_line import ROOT
from tests.support.page_blocks import Block, read_blocks, replace_values, run_page

TUTORIAL = ROOT / "docs/tutorial.md"
HOW_TO = sorted((ROOT / "docs/how-to").glob("*.md"))
PROGRAMS = ("hybrid-ir ", "python ", "pip install ")
MOST_SKIPPED = 12  # blocks of commands that no test runs


@pytest.fixture(scope="session")
def page_cache(tmp_path_factory) -> Path:
    """A cache that all pages share."""
    return tmp_path_factory.mktemp("page_cache")


@pytest.fixture(scope="session")
def workshop(tmp_path_factory) -> Path:
    """The folder that the how-to pages work in."""
    return tmp_path_factory.mktemp("workshop")


def list_commands(path: Path) -> list[Block]:
    """Returns the blocks of commands of a page."""
    return [block for block in read_blocks(path) if block.language == "bash"]


@pytest.fixture(scope="session")
def tutorial_folder(tmp_path_factory, page_cache) -> Path:
    """The folder in which the whole tutorial was done."""
    folder = tmp_path_factory.mktemp("tutorial")
    run_page(TUTORIAL, folder, page_cache)
    return folder


def read_documented_fields() -> dict[str, set[str]]:
    """Returns the fields that the page on files names, by file."""
    fields: dict[str, set[str]] = {}
    file = ""
    for line in (ROOT / "docs/reference/files.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            file = line.lstrip("# ")
        elif line.startswith("| `"):
            cell = line.split("|")[1]
            fields.setdefault(file, set()).update(re.findall(r"`([^`]+)`", cell))
    return fields


def read_fields(path: Path) -> set[str]:
    """Returns the fields of a JSON file, or the columns of a Parquet file."""
    if path.suffix == ".parquet":
        return set(pyarrow.parquet.read_schema(path).names)
    return set(json.loads(path.read_text(encoding="utf-8")))


def test_the_tutorial_runs(tutorial_folder):
    assert (tutorial_folder / "outputs/comparison/report.html").is_file()
    assert (tutorial_folder / "my_index/index.json").is_file()


@pytest.mark.parametrize(
    "file",
    [
        "outputs/hybrid/versions.json",
        "outputs/hybrid/content.json",
        "outputs/hybrid/batch_card.json",
        "outputs/hybrid/throughput.json",
        "outputs/hybrid/metrics.json",
        "outputs/hybrid/per_query.parquet",
        "outputs/evaluation/cldr_facts_dev/metrics.json",
        "outputs/evaluation/cldr_facts_dev/per_query.parquet",
        "outputs/evaluation/cldr_facts_dev/evaluation_card.json",
        "outputs/comparison/comparison.json",
        "outputs/bias/bias.json",
        "outputs/debiased/correction.json",
        "my_model/parity.json",
        "my_index/index.json",
    ],
)
def test_files_have_the_fields_that_the_reference_names(tutorial_folder, file):
    path = tutorial_folder / file
    assert read_fields(path) == read_documented_fields()[path.name]


def test_the_card_of_a_run_has_all_but_the_speed(tutorial_folder):
    fields = read_fields(tutorial_folder / "outputs/hybrid/evaluation_card.json")
    assert fields == read_documented_fields()["evaluation_card.json"] - {"encoding"}


def test_every_file_of_a_run_is_named(tutorial_folder):
    page = (ROOT / "docs/reference/files.md").read_text(encoding="utf-8")
    for path in (tutorial_folder / "outputs/hybrid").iterdir():
        assert path.name in page, path.name


@pytest.mark.parametrize("path", HOW_TO, ids=lambda path: path.stem)
def test_a_how_to_page_runs(path, workshop, page_cache):
    run_page(path, workshop, page_cache)


def test_few_commands_are_skipped_and_each_for_a_reason():
    skipped = []
    for path in [TUTORIAL, *HOW_TO]:
        skipped += [block for block in list_commands(path) if block.skip_reason is not None]
    assert all(len(block.skip_reason) > 8 for block in skipped)
    assert len(skipped) <= MOST_SKIPPED


@pytest.mark.parametrize("path", [TUTORIAL, *HOW_TO], ids=lambda path: path.stem)
def test_blocks_of_commands_hold_commands_alone(path):
    for block in list_commands(path):
        for line in block.lines:
            assert line.startswith(PROGRAMS), line


def test_values_of_a_test_replace_those_of_the_page():
    words = replace_values('hybrid-ir train "a=[1,2]" b=3 fit=false', {"b": "4", "c": "5"})
    assert words == ["hybrid-ir", "train", "a=[1,2]", "fit=false", "b=4", "c=5"]


def test_comments_belong_to_the_block_behind_them(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "text\n\n<!-- test: a=1 exit=3 -->\n<!-- test: setup: hybrid-ir train -->\n```bash\n"
        'hybrid-ir x a=2\n```\n\n```json title="b.json"\n{}\n```\n'
    )
    first, second = read_blocks(page)
    assert first.values == {"a": "1", "exit": "3"}
    assert first.setups == ["hybrid-ir train"]
    assert first.skip_reason is None
    assert second == Block("json", "b.json", ("{}",), ())


def test_a_comment_without_a_block_is_an_error(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- test: a=1 -->\ntext\n")
    with pytest.raises(AssertionError, match="not before a block"):
        read_blocks(page)
