"""`--method paper` through a real stack: its answers stand beside those of the default method."""

from pathlib import Path

from ays_client.contract import Schedule
from tests.cli.commands import ays
from tests.cli.conftest import Served


def test_the_papers_search_leaves_the_answers_of_the_default_method_alone(served: Served, tmp_path: Path) -> None:
    words = ["small", "--nfe", "7", "--solver", "ddim"]
    default = ays("optimize", *words, "--effort", "fast", "--json", cwd=tmp_path, AYS_URL=served.url)
    assert default.returncode == 0, default.stderr
    done = ays("optimize", *words, "--method", "paper", "--effort", "fast", "--json", cwd=tmp_path, AYS_URL=served.url)
    assert done.returncode == 0, done.stderr
    found = Schedule.model_validate_json(done.stdout)
    assert (found.provenance.method.value, found.validated) == ("paper", True)
    assert found.provenance.sweeps is not None
    looked_up = ays("schedule", *words, "--method", "paper", cwd=tmp_path, AYS_URL=served.url)
    assert Schedule.model_validate_json(looked_up.stdout) == found
    ours = ays("schedule", *words, cwd=tmp_path, AYS_URL=served.url)
    assert Schedule.model_validate_json(ours.stdout) == Schedule.model_validate_json(default.stdout)
    other = ays("schedule", "small", "--nfe", "20", "--solver", "dpmpp_3m", "--method", "paper", cwd=tmp_path, AYS_URL=served.url)
    assert other.returncode == 0, other.stderr
    assert Schedule.model_validate_json(other.stdout).provenance.candidate == "paper"
