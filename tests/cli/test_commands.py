"""The commands as a shell sees them: what goes to which stream, and the exit status."""

import json
import signal
from pathlib import Path

import pytest

from ays_client.contract import Schedule
from ays_client.published import PUBLISHED
from tests.cli.commands import ays, ays_started, running
from tests.cli.conftest import Served

NOWHERE = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimize", "digits", "--nfe", "0"], "nfe: Input should be greater than or equal to 2; received 0"),
        (["optimize", "digits", "--nfe", "1000000000"], "nfe: Input should be less than or equal to 64"),
        (["optimize", "digits", "--nfe", "many"], "'--nfe': Input should be a valid integer"),
        (["optimize", "digits", "--solver", "magic"], "'magic' is not one of 'euler', 'ddim'"),
        (["optimize", "digits", "--method", "magic"], "'magic' is not one of 'profile', 'paper', 'entropic'"),
        (["optimize", "digits", "--method", "paper", "--detail", "1"], "method=paper knows no detail; leave detail out"),
        (["optimize", "digits", "--solver", "heun", "--nfe", "8"], "ask for 7 or 9"),
        (["optimize", "digits", "--detail", "nan"], "detail: Input should be a finite number; received 'nan'"),
        (["optimize", "digits", "--detail", "5"], "detail: Input should be less than or equal to 4; received '5'"),
        (["optimize", "../../etc/passwd"], "model: String should match pattern"),
        (["optimize", "digits", "--local", "--webhook", "https://studio.example.org/"], "received --webhook and --local; only the service"),
        (["optimize"], "Missing argument"),
        (["optimize", "digits", "--frobnicate"], "No such option"),
        (["optimize", "digits", "--url", "somewhere"], "received the service address 'somewhere'; expected one like http://"),
        (["schedule", "digits", "--format", "xml"], "'xml' is not one of"),
        (["schedule", "digits", "--fallback", "luck"], "'luck' is not one of"),
        (["serve", "--workers", "-1"], "'--workers': Input should be greater than or equal to 0"),
        (["dance"], "No such command"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path: Path, words: list[str], message: str):
    done = ays(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["optimize", "digits"], ["schedule", "digits"], ["models"]])
def test_an_absent_service_is_status_3(tmp_path: Path, words: list[str]):
    done = ays(*words, "--url", NOWHERE, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"error: the service at {NOWHERE} does not answer" in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_needs_no_arguments(tmp_path: Path):
    done = ays_started(cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("serve", "worker", "optimize", "schedule", "models", "demo"):
        assert command in done.stdout


def test_optimize_schedule_and_models_through_the_api(served: Served, tmp_path: Path):
    optimize = ["optimize", "small", "--nfe", "6", "--effort", "fast", "--json"]
    first = ays(*optimize, cwd=tmp_path, AYS_URL=served.url)
    assert first.returncode == 0, first.stderr
    schedule = Schedule.model_validate_json(first.stdout)
    assert (schedule.model, schedule.nfe, len(schedule.sigmas)) == ("small", 6, 7)
    assert "measuring the profile" in first.stderr

    again = ays(*optimize, cwd=tmp_path, AYS_URL=served.url)
    assert again.stdout == first.stdout
    assert again.stderr == "cache hit: this request was answered before\n"

    other = ays("schedule", "small", "--nfe", "9", "--solver", "dpmpp_2m_sde", "--format", "comfyui", cwd=tmp_path, AYS_URL=served.url)
    assert other.returncode == 0, other.stderr
    assert len(other.stdout.split(",")) == 10

    models = ays("models", "--json", cwd=tmp_path, AYS_URL=served.url)
    facts = {model["id"]: model for model in json.loads(models.stdout)}
    assert set(facts) - set(PUBLISHED) == {"digits", "fashion", "mixture", "gaussian", "small", "faulty", "slow"}
    assert facts["small"]["profile_state"] == "ready"


def test_tables_for_people(served: Served, tmp_path: Path):
    done = ays("optimize", "small", "--nfe", "4", cwd=tmp_path, AYS_URL=served.url)
    assert done.returncode == 0, done.stderr
    assert "small: 4 evaluations, dpmpp_2m (optimized, validated)" in done.stdout
    assert "stock: edm" in done.stdout
    assert "Standard normal, two dimensions" in ays("models", cwd=tmp_path, AYS_URL=served.url).stdout


def test_published_schedules_need_no_job(served: Served, tmp_path: Path):
    assert "stable-diffusion-xl" in ays("models", cwd=tmp_path, AYS_URL=served.url).stdout
    done = ays("schedule", "stable-diffusion-xl", "--nfe", "10", cwd=tmp_path, AYS_URL=served.url)
    assert done.returncode == 0, done.stderr
    assert Schedule.model_validate_json(done.stdout).timesteps_int == list(PUBLISHED["stable-diffusion-xl"].timesteps[:-1])
    assert done.stderr == "note: this schedule is published, not optimized\n"


def test_unknown_and_uncached_are_status_2(served: Served, tmp_path: Path):
    unknown = ays("optimize", "nope", cwd=tmp_path, AYS_URL=served.url)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "digits" in unknown.stderr
    uncached = ays("schedule", "mixture", "--nfe", "7", cwd=tmp_path, AYS_URL=served.url)
    assert (uncached.returncode, uncached.stdout) == (2, "")
    stock = ays("schedule", "mixture", "--nfe", "7", "--fallback", "stock", cwd=tmp_path, AYS_URL=served.url)
    assert stock.returncode == 0, stock.stderr
    assert Schedule.model_validate_json(stock.stdout).source == "stock"
    assert "note: this schedule is stock, not optimized" in stock.stderr


def test_a_failed_job_is_status_4_and_the_worker_lives_on(served: Served, tmp_path: Path):
    failed = ays("optimize", "faulty", "--effort", "fast", cwd=tmp_path, AYS_URL=served.url)
    assert (failed.returncode, failed.stdout) == (4, "")
    assert "error: model 'faulty': received NaN or infinity from denoise" in failed.stderr
    assert ays("optimize", "small", "--nfe", "5", "--effort", "fast", cwd=tmp_path, AYS_URL=served.url).returncode == 0


def test_local_needs_neither_service_nor_redis(tmp_path: Path, models_toml: Path):
    words = ["--effort", "fast", "--local", "--json", "--url", NOWHERE]
    done = ays("optimize", "small", *words, cwd=tmp_path, AYS_MODELS=str(models_toml), AYS_REDIS_URL="redis://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    assert Schedule.model_validate_json(done.stdout).model == "small"
    assert "measuring the profile" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_worker_py_in_the_current_folder_is_not_ours(tmp_path: Path, models_toml: Path):
    for name in ("worker", "service", "ays_client"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(99)")
    done = ays_started("optimize", "small", "--effort", "fast", "--local", "--json", cwd=tmp_path, AYS_MODELS=str(models_toml))
    assert done.returncode == 0, done.stderr
    assert Schedule.model_validate_json(done.stdout).model == "small"


@pytest.mark.parametrize(
    ("model", "status", "message"),
    [("nope", 2, "expected one of digits, fashion, mixture, gaussian, small"), ("faulty", 4, "NaN or infinity from denoise")],
)
def test_local_failures(tmp_path: Path, models_toml: Path, model: str, status: int, message: str):
    done = ays("optimize", model, "--local", cwd=tmp_path, AYS_MODELS=str(models_toml))
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_interrupted_is_status_130(tmp_path: Path, models_toml: Path):
    with running("optimize", "slow", "--local", cwd=tmp_path, AYS_MODELS=str(models_toml)) as command:
        command.wait_for("measuring the profile")
        assert command.end(signal.SIGINT) == 130
        assert command.err.endswith("error: interrupted\n")
