"""The theory's page and the code name each other: tests that exist, files that exist, equations cited where they are coded."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ROOT / "worker" / "ays"
PAGE = (ROOT / "docs" / "theory.md").read_text()
SECTIONS = [pytest.param(*found[1:], id=found[0]) for found in re.findall(r"^## (\d+)\. (.+?)$(.+?)(?=^## |\Z)", PAGE, re.M | re.S)]
"""Heading and text of each."""


def tags(text: str) -> list[str]:
    return re.findall(r"\\tag\{(\w+)\}", text)


def sources(name: str) -> list[Path]:
    """The files that a heading names: one, or those of a folder."""
    path = CODE / name
    return sorted(path.glob("*.py")) if path.is_dir() else [path]


def cited(path: Path) -> set[str]:
    """Tags in citations such as `(theory 7)` or `(theory 4, 5)`."""
    found = re.findall(r"\(theory (\w+(?:, \w+)*)\)", path.read_text())
    return {tag for citation in found for tag in citation.split(", ")}


def test_every_identity_of_the_page_names_tests_that_exist() -> None:
    defined = {name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)}
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 30
    assert named <= defined, named - defined


def test_every_equation_has_one_number_in_order() -> None:
    found = tags(PAGE)
    assert [int(tag) for tag in found if tag.isdigit()] == list(range(1, 24))
    assert [tag for tag in found if not tag.isdigit()] == ["K", "F", "W", "S"]


def test_every_equation_is_cited_where_it_is_coded_and_no_other() -> None:
    in_code = set().union(*(cited(path) for path in CODE.rglob("*.py")))
    assert in_code == set(tags(PAGE)), in_code ^ set(tags(PAGE))


@pytest.mark.parametrize("path", sorted(CODE.rglob("*.py")), ids=lambda path: path.stem)
def test_citations_have_one_form(path: Path) -> None:
    """Tags, or sections by their numbers; anything else would escape the tests beside this one."""
    rest = re.sub(r"\(theory \w+(, \w+)*\)|docs/theory\.md, sections? \d+( and \d+)*", "", path.read_text())
    assert "theory" not in rest
    assert not re.search(r"\s\((K|F|W|S|O)\)", rest)


@pytest.mark.parametrize(("heading", "text"), SECTIONS)
def test_the_files_of_a_heading_cite_its_equations(heading: str, text: str) -> None:
    names = re.findall(r"`([\w/.]+)`", heading)
    assert names
    own = set(tags(text))
    for name in names:
        files = sources(name)
        assert all(path.is_file() for path in files), name
        assert not own or own & set().union(*map(cited, files)), f"{name} cites none of {own}"
