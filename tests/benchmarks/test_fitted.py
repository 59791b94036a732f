"""The benchmark of the fitted solver: equivalent evaluations, paired distances, and a cell from end to end."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import fitted
from benchmarks.fitted import Budget, Fits
from benchmarks.fitted_page import FAST, FITTED, Cell, equivalent, frechet_z, write_page


def test_equivalent_evaluations_are_read_off_the_curve() -> None:
    counts, curve = [4, 8, 12], [1.0, 0.1, 0.001]
    assert equivalent(0.1, counts, curve) == pytest.approx(8)
    assert equivalent(10**-0.5, counts, curve) == pytest.approx(6)
    assert equivalent(0.01, counts, curve) == pytest.approx(10)
    assert equivalent(1e-4, counts, curve) is None
    assert equivalent(2.0, counts, curve) is None
    # A count at which the curve rises buys nothing.
    assert equivalent(0.05, [4, 8, 12], [0.1, 0.2, 0.01]) == pytest.approx(8 + 4 * np.log(2) / np.log(10))


def test_a_difference_of_distances_is_told_in_its_own_standard_errors() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(1.0, 0.1, 16)
    left_out = (values.sum() - values) / 15
    z = frechet_z([values.mean(), *left_out], [0.0] * 17)
    assert z == pytest.approx(values.mean() / (values.std(ddof=1) / 4))
    assert frechet_z([1.0] * 17, [1.0] * 17) == 0


def test_a_cell_is_judged_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fitted, "FIXED", ("dpmpp_2m",))
    budget = Budget(128, 128)
    rows = Fits("mixture", budget, seed=1).rows(6)
    again = Fits("mixture", budget, seed=1)
    assert again.finished(6) == rows
    assert again.finished(5) == []
    cell = Cell.of(6, rows)
    assert cell.fixed["name"] == "dpmpp_2m"
    assert cell.fast["name"] == FAST
    assert cell.standard["name"] == FITTED
    assert np.array(cell.standard["weights"]).sum(axis=1) == pytest.approx(np.ones(6))
    assert cell.fast["evaluations"] <= 2 * 16 * 64 + 600 < cell.standard["evaluations"] <= 6000
    assert np.median(cell.standard["errors"]) < np.median(cell.fixed["errors"]) < np.median(cell.stock["errors"])
    write_page({"mixture": {6: rows}}, {"mixture": again.floors()}, {"mixture": 128}, tmp_path)
    text = (tmp_path / "fitted.md").read_text()
    assert "128 fresh noises" in text
    assert text.count("| 6 | ") == 1
