"""`ays curve`: a CSV file in, a schedule out, through a real stack and without one."""

import json
from pathlib import Path

import numpy as np
import pytest

from ays_client.contract import Schedule
from tests.cli.commands import ays
from tests.cli.conftest import Served
from worker.ays.analytic import Gaussian


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The exact curve of a Gaussian."""
    law = Gaussian(0.5)
    rows = [f"{sigma!r},{law.mmse(sigma)!r}" for sigma in np.geomspace(0.01, 40.0, 64).tolist()]
    path = tmp_path / "curve.csv"
    path.write_text("\n".join(["sigma,loss", "# measured on nothing", *rows]) + "\n")
    return path


def read(text: str) -> Schedule:
    return Schedule.model_validate_json(text)


def test_a_curve_is_answered_by_the_stack_and_alike_without_it(served: Served, file: Path, tmp_path: Path) -> None:
    words = ["curve", str(file), "--nfe", "8", "--format", "json"]
    through = ays(*words, cwd=tmp_path, AYS_URL=served.url)
    assert through.returncode == 0, through.stderr
    found = read(through.stdout)
    assert read(ays(*words, "--local", cwd=tmp_path).stdout) == found
    assert (found.solver.value, found.provenance.candidate, found.validated) == ("sddim", "bound", False)
    looked_up = ays("schedule", found.model, "--nfe", "20", "--solver", "ddim", cwd=tmp_path, AYS_URL=served.url)
    assert read(looked_up.stdout).provenance.candidate == "bound of sddim"


def test_entropic_time_of_a_gaussian_is_its_arctan(file: Path, tmp_path: Path) -> None:
    words = ["curve", str(file), "--nfe", "7", "--method", "entropic", "--terminal", "sigma_min", "--local", "--format", "kdiffusion"]
    done = ays(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    wanted = Gaussian(0.5, sigma_min=0.01, sigma_max=40.0).arctan_levels(7)
    np.testing.assert_allclose(json.loads(done.stdout), wanted, rtol=0.01)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sigma,loss\n1,2\nx,3\n", "received 'x,3' in line 3 of"),
        ("1,2\n3,nan\n", "received '3,nan' in line 2 of"),
        ("1,2\n3\n", "expected two finite numbers, sigma and loss"),
        ("", "at least 8 items"),
        ("\n".join(f"{0.01 * 2**-i},{i}" for i in range(2000)), "expected at most 1024"),
        ("\n".join(f"{2.0**-i} {2.0**i}" for i in range(12)), "the loss falls from 2048 at sigma="),
    ],
)
def test_a_bad_file_is_one_line_and_status_2(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    done = ays("curve", str(path), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_file_is_status_2(tmp_path: Path) -> None:
    done = ays("curve", "nowhere.csv", cwd=tmp_path)
    assert done.returncode == 2
    assert "No such file" in done.stderr
