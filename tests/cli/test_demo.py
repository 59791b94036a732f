"""`ays demo`: the main job end to end, and again from the cache."""

import re
from pathlib import Path

import pytest

from tests.cli.commands import ays


def ratios(printed: str) -> dict[int, tuple[float, float, float]]:
    """By number of evaluations: the fitted answer's error over the best stock schedule's, and the ends of its interval."""
    found = re.findall(r"^(\d+) fitted evaluations: (\S+) \[(\S+), (\S+)\] of the error of", printed, re.M)
    return {int(nfe): (float(value), float(low), float(high)) for nfe, value, low, high in found}


@pytest.mark.timeout(900)  # two whole jobs of a real network, on whatever cores there are
def test_demo_and_its_second_run(tmp_path: Path):
    first = ays("demo", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    bought = ratios(first.stdout)
    assert set(bought) == {5, 8}
    for nfe, (value, low, high) in bought.items():
        assert f"digits: {nfe} evaluations, fitted (optimized, validated)" in first.stdout
        assert low <= value <= high < 1
        assert (tmp_path / f"out/digits-{nfe}-fitted.png").read_bytes().startswith(b"\x89PNG")
    last = re.search(r"^5 fitted evaluations: error (\S+); 8 of the best stock schedule: (\S+)$", first.stdout, re.M)
    assert last is not None, first.stdout
    assert not (tmp_path / ".ays/redis/pid").exists()

    second = ays("demo", cwd=tmp_path)
    assert second.returncode == 0, second.stderr
    assert second.stderr.count("from the cache: this request was answered before") == 2
    assert second.stdout == first.stdout
