"""`ays demo`: the main job end to end, and again from the cache."""

import re
from pathlib import Path

import pytest

from tests.cli.commands import ays


def ratio(table: str) -> float:
    """The optimized schedule's error over that of the best stock schedule."""
    found = re.search(r"^ +optimized +\S+ +\S+ +(\S+)", table, re.M)
    assert found is not None, table
    return float(found[1])


def usual_ratio(table: str) -> float:
    """The same on the noises where it is smaller: a half of them."""
    found = re.search(r"^on half of them the optimized schedule has at most (\S+) of the best stock schedule's error$", table, re.M)
    assert found is not None, table
    return float(found[1])


@pytest.mark.timeout(900)  # a whole job of a real network, on whatever cores there are
def test_demo_and_its_second_run(tmp_path: Path):
    first = ays("demo", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "digits: 8 evaluations, dpmpp_2m (optimized, validated)" in first.stdout
    assert "stock: edm" in first.stdout
    # A few of the noises end as another digit and carry most of the mean, whose standard error is half of it; half of them tell more.
    assert ratio(first.stdout) < 0.8
    assert usual_ratio(first.stdout) < 0.2
    assert first.stdout.splitlines()[-1].endswith(": out/digits-8-dpmpp_2m.png")
    picture = tmp_path / "out/digits-8-dpmpp_2m.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / ".ays/redis/pid").exists()

    second = ays("demo", cwd=tmp_path)
    assert second.returncode == 0, second.stderr
    assert "from the cache: this request was answered before" in second.stderr
    assert second.stdout == first.stdout
