"""The pictured toys of the paper run in their quick form and say what they should."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import REPOSITORY, environment


def run(name: str, out: Path, *words: str) -> list[list[str]]:
    """Cells of the table that it prints, without the head."""
    command = [sys.executable, str(REPOSITORY / "examples" / "paper" / f"{name}.py"), *words, str(out)]
    done = subprocess.run(
        command, env=environment(PYTHONPATH=str(REPOSITORY)), cwd=out.parent, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert out.read_bytes().startswith(b"\x89PNG")
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def number(cell: str) -> float:
    found = re.match(r"-?[\d.]+(e-?\d+)?", cell)
    assert found is not None, cell
    return float(found[0])


def test_the_case_study_is_won_by_the_arctan_everywhere(tmp_path: Path) -> None:
    table = run("case_study", tmp_path / "a.png", "--quick")
    assert [row[0] for row in table] == ["0.1", "0.5", "1"]
    for row in table:
        assert number(row[-1]) == min(map(number, row[2:]))
    assert table[2][-1] == table[2][-2], "the cosine schedule is the optimum for c = 1"


def test_the_output_gets_worse_while_the_bound_falls(tmp_path: Path) -> None:
    table = run("early_stopping", tmp_path / "a.png")
    assert len(table) == 6
    for row in table:
        start, best, turn, last, end = map(number, row[2:])
        assert best < 0.5 * start
        assert last > 1.5 * best
        assert turn < 0.6 * end


@pytest.mark.parametrize("name", ["mixtures", "learned"])
def test_ours_is_better_than_both_stock_schedules(tmp_path: Path, name: str) -> None:
    row = run(name, tmp_path / "a.png", "--quick")[0]
    stock, ours = (row[3:5], row[6]) if name == "mixtures" else (row[1:3], row[3])
    assert number(ours) < min(map(number, stock))
