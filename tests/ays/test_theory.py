"""The theory's page names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_identity_of_the_page_names_tests_that_exist() -> None:
    page = (ROOT / "docs" / "theory.md").read_text()
    defined = {name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)}
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 30
    assert named <= defined, named - defined


def test_every_equation_has_one_number_in_order() -> None:
    tags = re.findall(r"\\tag\{(\w+)\}", (ROOT / "docs" / "theory.md").read_text())
    assert [int(tag) for tag in tags if tag.isdigit()] == list(range(1, 21))
    assert [tag for tag in tags if not tag.isdigit()] == ["K", "F", "W", "S", "O"]
