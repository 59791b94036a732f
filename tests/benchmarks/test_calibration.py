"""The calibration benchmark: it answers as a job does, goes on where it stopped, and counts what covers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ays_client.contract import Effort
from benchmarks.calibration import Calibration, Cell
from benchmarks.calibration_page import write_page
from benchmarks.cases import load
from benchmarks.fresh import FreshNoises
from worker.ays.denoise import Evaluator
from worker.ays.schedule import edm
from worker.ays.search import report
from worker.ays.search.candidates import Candidate
from worker.ays.solvers import SOLVERS


def test_an_answer_meets_its_truth_and_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report, "MOST", 64)
    cell = Cell("ddim", 5)
    assert Calibration("mixture", Effort.STANDARD, noises=256).finished(cell, range(1)) == []
    (row,) = Calibration("mixture", Effort.STANDARD, noises=256).rows(cell, range(1))
    again = Calibration("mixture", Effort.STANDARD, noises=256)
    assert again.finished(cell, range(1)) == [row]
    assert again._denoise.evaluations == 0
    low, high = row["interval"]
    assert low < row["reported"] < high
    assert row["truth"] == pytest.approx(row["reported"], rel=2)
    assert row["true_ratio"] < 1
    assert row["truth_reference_error"] < 1e-6 * row["truth"]
    assert Calibration("mixture", Effort.STANDARD, noises=128).finished(cell, range(1)) == []


@pytest.mark.parametrize("name", ["ddim", "sddim"])
def test_fresh_noises_are_the_same_in_parts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, solver = load("mixture"), SOLVERS[name]
    levels = edm(6, sigma_max=model.process.sigma_max, sigma_min=model.process.sigma_min, terminal="zero")

    def fresh() -> FreshNoises:
        return FreshNoises(model, Evaluator(model.denoiser, batch=64), noises=10, intervals=32)

    whole = fresh()
    expected = whole.errors(solver, [Candidate("edm", levels)])[0]
    own = (whole.samples(solver, Candidate("edm", levels)) - whole.references(solver)).square().sum(1)
    assert own.numpy() == pytest.approx(expected)
    monkeypatch.setattr("benchmarks.fresh._ROWS", 3)
    assert fresh().errors(solver, [Candidate("edm", levels)])[0] == pytest.approx(expected)


def row(truth: float, interval: tuple[float, float]) -> dict[str, Any]:
    low, high = interval
    ratio = {"ratio": 1.0, "ratio_interval": interval, "true_ratio": truth}
    reported = float(np.sqrt(low * high))
    return {"truth": truth, "reported": reported, "interval": interval, "truth_reference_error": 0.0, "seconds": 1.0, **ratio}


def test_the_page_counts_intervals_and_refusals(tmp_path: Path) -> None:
    refused = {"reported": None, "seconds": 1.0}
    rows = [row(1.0, (0.5, 2.0)), row(4.0, (0.5, 2.0)), row(1.0, (0.25, 4.0)), refused]
    write_page({("mixture", "ddim", 5): rows, ("digits", "ddim", 8): [row(9.0, (1.0, 1.0))]}, {"mixture": 4096, "digits": 512}, tmp_path)
    text = (tmp_path / "calibration.md").read_text()
    assert "Over 1 cells with 4,096 fresh noises or more (3 jobs)" in text
    assert "**66.7 %**" in text
    assert f"{4 ** (1 / 3):.3f} (geometric mean)" in text
    assert "| mixture (4,096 fresh noises) | 1 | 4 | 67 % | 1.587 | 4.00 | 16.00 | 67 % | 0 | 1 |" in text
    assert "| ddim | 2 | 5 | 50 % |" in text
    assert "| digits | ddim | 8 | 9 | 1 | 1 to 1 |" in text
