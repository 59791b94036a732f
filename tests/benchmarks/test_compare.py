"""The benchmark: it goes on where it stopped, and its statistics say who is first."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import compare
from benchmarks.baselines import BASELINES
from benchmarks.cases import QUICK, image_gaussian
from benchmarks.comparison import Cell, cells_of
from benchmarks.records import Records
from benchmarks.results import write_results
from benchmarks.rough import ROUGH, train
from worker.models.digits.data import digits


def test_a_finished_cell_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    case = QUICK[0]
    task = compare.Task(case, stochastic=False, seconds=1e9)
    found = compare.run(task)
    written = task.records.read_bytes()
    assert compare.run(replace(task, seconds=-1.0)) == found
    assert task.records.read_bytes() == written

    rows = found["cells"][0]["rows"]
    assert {row["method"] for row in rows} == (set(BASELINES) | set(compare.OURS)) - compare.VP_ONLY
    assert all(len(row["errors"]) == case.noises for row in rows)

    body = {
        "cells": found["cells"],
        "fine": {(case.id, False): found["fine"]},
        "cases": [case],
        "wanted": 3,
        "seconds": 1.0,
        "cpu_seconds": 1.0,
    }
    write_results(body, tmp_path)
    page = (tmp_path / "results.md").read_text()
    assert "in **" in page
    assert "1 of 3 cells are not finished" in page
    assert page.count("| dpmpp_2m | 5 |") >= 2
    assert (tmp_path / "images" / "results.png").stat().st_size > 10_000


def test_a_task_stops_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert compare.run(compare.Task(QUICK[0], stochastic=False, seconds=-1.0)) == {"cells": [], "fine": None}


def test_a_line_that_was_cut_off_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    records = Records(path)
    records.put({"a": 1}, "one", 1)
    records.put({"b": 2}, "two", 2)
    path.write_text(path.read_text()[:-5])
    again = Records(path)
    assert again.get("one", 1) == {"a": 1}
    assert again.get("two", 2) is None


def row(method: str, errors: list[float], seed: int = 0) -> dict[str, Any]:
    return {"method": method, "seed": seed, "errors": errors, "quality": None, "evaluations": 10, "seconds": 1.0}


def cell(*rows: dict[str, Any]) -> Cell:
    return cells_of([{"model": "m", "solver": "ddim", "nfe": 5, "rows": list(rows)}])[0]


def test_who_is_first_is_decided_on_paired_noises() -> None:
    noise = np.linspace(1, 9, 50)
    better = cell(row("standard", list(noise + 0.1)), row("edm", list(noise)), row("beta", list(noise + 5)))
    # The noises scatter by far more than a tenth, but every one of them prefers the other.
    assert better.rival.name == "edm"
    assert better.ratio(better.rival)[0] == pytest.approx(1.02)
    assert better.lost

    scattered = cell(row("standard", list(noise + 0.1)), row("edm", list(noise[::-1])))
    assert not scattered.lost


def test_seeds_add_to_the_standard_error() -> None:
    noise = list(np.linspace(1, 9, 50))
    ours = [row("standard", list(np.array(noise) + shift), seed) for seed, shift in enumerate((-1.0, 1.3))]
    found = cell(*ours, row("edm", noise))
    assert found.ours.seed_error == pytest.approx(2.3 / 2)
    assert found.ratio(found.rival)[1] == pytest.approx(1.15 / 5, rel=1e-3)
    assert not found.lost


def test_the_limit_is_no_rival() -> None:
    found = cell(row("standard", [2.0, 2.1]), row("direct", [1.0, 1.1]), row("edm", [3.0, 3.1]))
    assert found.rival.name == "edm"
    assert found.limit is not None
    assert not found.lost


def test_the_image_gaussian_has_the_spectrum_of_images() -> None:
    law = image_gaussian()
    assert law.shape == (3072,)
    assert float(law.variances.mean()) == pytest.approx(0.25)
    # Modes (0, 1) and (0, 2) of the first channel: twice the frequency, a quarter of the variance.
    assert float(law.variances[1] / law.variances[2]) == pytest.approx(4.0)


@pytest.mark.parametrize(("name", "steps", "sigma"), [("rough-top", 400, 20.0), ("rough-gap", 1000, 1.0)])
def test_rough_networks_contradict_themselves(name: str, steps: int, sigma: float) -> None:
    """There an estimate is further from the image than the mean image is from it, which no exact denoiser's can be."""
    denoiser = train(replace(ROUGH[name], steps=steps))
    held_out = digits()[1]
    noisy = held_out + sigma * torch.randn(held_out.shape, generator=torch.Generator().manual_seed(0))
    loss = (denoiser.denoise(noisy, torch.full((len(noisy),), sigma)) - held_out).square().flatten(1).sum(1).mean()
    variance = (held_out - held_out.mean(0)).square().flatten(1).sum(1).mean()
    assert float(loss) > 1.1 * float(variance)
