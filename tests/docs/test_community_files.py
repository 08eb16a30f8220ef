"""The files by which a project is cited and contributed to say what is true."""

import re

import pytest
import yaml

import hybrid_ir
from tests.support.command_line import ROOT

FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
# Fields that the form of citation files, version 1.2.0, asks for.
REQUIRED_OF_CITATION = {"cff-version", "message", "title", "authors"}
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def test_the_citation_has_the_version_and_the_authors_of_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation.keys() >= REQUIRED_OF_CITATION
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == hybrid_ir.__version__
    assert citation["authors"] == [{"name": "hybrid-ir contributors"}]
    paper = citation["preferred-citation"]
    names = [author["family-names"] for author in paper["authors"]]
    assert names == ["Elmahdy", "Lin", "Ahmad"]
    assert "2408.10536" in paper["url"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_have_what_their_form_asks_for(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem == "config":
        assert set(form) == {"blank_issues_enabled"}
        return
    assert {"name", "description", "body"} <= set(form)
    for element in form["body"]:
        assert element["type"] in ("textarea", "input", "markdown", "dropdown", "checkboxes")
        assert element["type"] == "markdown" or element["attributes"]["label"]


def test_a_bug_report_asks_for_the_doctor():
    text = (ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text(encoding="utf-8")
    assert "hybrid-ir doctor" in text


@pytest.mark.parametrize("name", PAGES)
def test_links_of_the_pages_of_the_repository_lead_somewhere(name):
    for target in LINK.findall((ROOT / name).read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), f"{name}: {target}"
