"""`ays demo`: the main job end to end, and again from the cache."""

import re
from pathlib import Path

import pytest

from tests.cli.commands import ays


def ratio(printed: str) -> tuple[float, float, float]:
    """The answer's error over that of the best stock schedule, and the ends of its interval."""
    found = re.search(r"^(\S+) \[(\S+), (\S+)\] of \S.*'s, the best stock schedule; on half of the samples at most \S+$", printed, re.M)
    assert found is not None, printed
    return float(found[1]), float(found[2]), float(found[3])


@pytest.mark.timeout(900)  # a whole job of a real network, on whatever cores there are
def test_demo_and_its_second_run(tmp_path: Path):
    first = ays("demo", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "digits: 5 evaluations, fitted (optimized, validated)" in first.stdout
    assert "stock: edm" in first.stdout
    value, low, high = ratio(first.stdout)
    assert low <= value <= high
    assert value < 0.8
    assert first.stdout.splitlines()[-1].endswith(": out/digits-5-fitted.png")
    picture = tmp_path / "out/digits-5-fitted.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / ".ays/redis/pid").exists()

    second = ays("demo", cwd=tmp_path)
    assert second.returncode == 0, second.stderr
    assert "from the cache: this request was answered before" in second.stderr
    assert second.stdout == first.stdout
