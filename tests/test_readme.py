"""The README holds: its demo, its curl, Python and shell blocks run against a real stack, and what it names exists."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from typer.main import get_command

from ays_process.environment import variables_of
from service.cli.app import app
from service.settings import Settings as ServiceSettings
from tests.cli.commands import REPOSITORY, ays_started, environment, running
from worker.process.settings import Settings as WorkerSettings

# The first test of a stack waits for a whole job of a real network, on whatever cores there are.
pytestmark = pytest.mark.timeout(900)

README = (REPOSITORY / "README.md").read_text()
API = (REPOSITORY / "docs/api.md").read_text()
COMMANDS = get_command(app).commands
ADDRESS = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def run(*command: str, url: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as cache:
        return _run(*command, settings=environment(PYTHONPATH=str(REPOSITORY), PATH=path, AYS_URL=url, XDG_CACHE_HOME=cache))


def _run(*command: str, settings: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=REPOSITORY, env=settings, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_shell(block: str, url: str) -> str:
    # One shell for the block, ended by its first failure; bodies come without a newline at their end, so curl adds one.
    return run("bash", "-euo", "pipefail", "-c", "curl() { command curl -w '\\n' \"$@\"; }\n" + block.replace(ADDRESS, url), url=url)


def run_python(block: str, url: str) -> str:
    return run(sys.executable, "-c", block.replace(ADDRESS, url), url=url)


@dataclass(frozen=True)
class Demo:
    """What `ays demo` did in a folder, the first time and again, and whether it left a Redis there."""

    folder: Path
    first: "subprocess.CompletedProcess[str]"
    second: "subprocess.CompletedProcess[str]"
    left: bool


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo, twice; the README asks for the same, so that its blocks find the model measured and the answer stored."""
    folder = tmp_path_factory.mktemp("readme")
    # A user's files with the names of our packages are never run in their place.
    for name in ("worker", "service"):
        (folder / f"{name}.py").write_text("raise SystemExit(99)")
    return Demo(folder, ays_started("demo", cwd=folder), ays_started("demo", cwd=folder), left=(folder / ".ays/redis/pid").exists())


@pytest.fixture(scope="module")
def url(demo: Demo) -> Iterator[str]:
    """A stack that `ays serve` runs on the demo's Redis: the API and one worker."""
    with running("serve", "--port", "0", cwd=demo.folder) as command:
        command.wait_for("ready; Ctrl-C stops everything")
        yield command.out.split()[1]


@pytest.fixture(scope="module")
def answers(url: str) -> list[str]:
    """What the curl block printed."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (block,) = (block for block in blocks("bash") if "curl" in block)
    return run_shell(block, url).splitlines()


def ratio(printed: str) -> tuple[float, float, float]:
    """The answer's error over that of the best stock schedule, and the ends of its interval."""
    found = re.search(r"^(\S+) \[(\S+), (\S+)\] of \S.*'s, the best stock schedule; on half of the samples at most \S+$", printed, re.M)
    assert found is not None, printed
    return float(found[1]), float(found[2]), float(found[3])


def test_demo(demo: Demo):
    assert demo.first.returncode == 0, demo.first.stderr
    assert "digits: 5 evaluations, fitted (optimized, validated)" in demo.first.stdout
    assert "stock: edm" in demo.first.stdout
    value, low, high = ratio(demo.first.stdout)
    assert low <= value <= high
    assert value < 0.8
    assert demo.first.stdout.splitlines()[-1].endswith(": out/digits-5-fitted.png")
    picture = demo.folder / "out/digits-5-fitted.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert not demo.left


def test_demo_again_is_answered_from_the_cache(demo: Demo):
    assert demo.second.returncode == 0, demo.second.stderr
    assert "from the cache: this request was answered before" in demo.second.stderr
    assert demo.second.stdout == demo.first.stdout


def test_curl(answers: list[str]):
    events = [json.loads(line.removeprefix("data: ")) for line in answers if line.startswith("data: ")]
    assert events[-1]["state"] == "succeeded"
    asked, comfyui, fallback = answers[-3:]
    schedule = json.loads(asked)
    assert (schedule["source"], schedule["validated"], len(schedule["sigmas"])) == ("optimized", True, 6)
    assert len([float(level) for level in comfyui.split(",")]) == 13
    assert json.loads(fallback)["source"] == "stock"
    assert fields() <= set(schedule)


def fields() -> set[str]:
    """The fields that the README explains."""
    section = README.partition("## Read an answer")[2].partition("##")[0]
    return {name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}


@pytest.mark.parametrize("block", blocks("python"), ids=["client", "diffusers"])
def test_python(block: str, url: str):
    printed = run_python(block, url)
    assert printed.startswith("optimized [") or "print" not in block


def test_ays(url: str):
    (block,) = (block for block in blocks("bash") if "ays optimize" in block)
    printed = run_shell(block, url)
    assert "digits: 5 evaluations, fitted (optimized, validated)" in printed
    assert "two-moons: 6 evaluations, fitted (optimized, validated)" in printed


def test_the_models_file_is_the_example():
    (block,) = blocks("toml")
    assert tomllib.loads(block) == tomllib.loads((REPOSITORY / "examples/models.toml").read_text())


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)`", README)) | set(re.findall(r"^make ([a-z-]+)", README, re.MULTILINE))
    assert {"demo", "test", "serve"} <= named <= targets


def test_ays_commands_exist():
    code = "\n".join([*blocks("bash"), *re.findall(r"`(ays .*?)`", README)])
    named = {words: set(re.findall(r"--[a-z-]+", options)) for words, options in re.findall(r"\bays (\w+)(.*)", code)}
    assert {"serve", "worker", "demo", "models", "optimize", "schedule", "curve", "doctor", "export", "import"} == set(named)
    for name, options in named.items():
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert options <= known, name


def test_variables_exist_and_are_all_explained():
    variables = variables_of(ServiceSettings) | variables_of(WorkerSettings)
    variables |= {str(parameter.envvar) for command in COMMANDS.values() for parameter in command.params if parameter.envvar}
    variables |= {"AYS_API_KEY", "AYS_API_KEY_FILE"}  # of the client
    assert set(re.findall(r"AYS_[A-Z_]+", README)) <= variables
    assert set(re.findall(r"AYS_[A-Z_]+", API)) == variables


def test_routes_are_all_explained(url: str):
    paths = httpx2.get(f"{url}/openapi.json").raise_for_status().json()["paths"]
    known = {f"{verb.upper()} {re.sub('{.*?}', '{id}', path)}" for path, verbs in paths.items() for verb in verbs}
    # The page is no part of the API, and stands in the table with its routes.
    assert known | {"GET /"} == set(re.findall(r"`((?:GET|POST|DELETE) /.*?)`", API.partition("## A request")[0]))


@pytest.mark.parametrize("page", ["README.md", "docs/api.md", "docs/integrate.md", "docs/operating.md"])
def test_links_lead_somewhere(page: str):
    text = (REPOSITORY / page).read_text()
    targets = [target.partition("#")[0] for target in re.findall(r"\]\((.*?)\)", text) if "://" not in target]
    assert targets
    assert [target for target in targets if not ((REPOSITORY / page).parent / target).exists()] == []
