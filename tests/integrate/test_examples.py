"""The integrations in examples/ run as they are on the bundled pipeline, and answer with the image of the schedule.

FastAPI and LitServe are the real servers. Stand-ins take the place of ComfyUI, of the Inference Toolkit, and of Ray (test_ray.py has it).
"""

import asyncio
import base64
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace

import httpx2
import pytest
import uvicorn
from starlette.requests import Request

from ays_client.schedulers import scheduled
from tests.cli.commands import REPOSITORY
from tests.client.hostile import Dead, Hostile
from tests.integrate import digits
from worker.models.digits import PIPELINE

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

EXAMPLES = REPOSITORY / "examples"


@pytest.fixture(scope="module")
def service():
    with Hostile() as opened:
        opened.body = digits.schedule().model_dump_json().encode()
        yield opened


@pytest.fixture
def load(service, monkeypatch, tmp_path):
    """Imports an example, in the environment that its docstring asks for."""
    settings = {"AYS_URL": service.url, "PIPELINE": str(PIPELINE), "MODEL": "digits", "XDG_CACHE_HOME": str(tmp_path)}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    def load(name, **changes):
        for variable, value in changes.items():
            monkeypatch.setenv(variable, value)
        spec = importlib.util.spec_from_file_location(f"example_{name.replace('/', '_')}", EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.mark.parametrize("name", ["fastapi_server", "litserve_server", "huggingface/handler", "ray_serve", "comfyui_node", "edm_pipeline"])
def test_each_is_short(name):
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 60


@pytest.fixture(scope="module")
def expected():
    """The image of seed 1 with the schedule."""
    image = digits.image(seed=1)
    assert image != digits.stock_image(seed=1)
    return image


class Running:
    """An ASGI application on a free port."""

    def __init__(self, app):
        self.server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        self.thread = threading.Thread(target=self.server.run)

    def __enter__(self):
        self.thread.start()
        end = time.monotonic() + 60
        while not self.server.started:
            assert self.thread.is_alive()
            assert time.monotonic() < end
            time.sleep(0.01)
        return f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join()


def test_fastapi(load, expected):
    with Running(load("fastapi_server").app) as url, httpx2.Client(base_url=url, timeout=60) as http:
        first = http.post("/generate", json={"seed": 1}).raise_for_status()
        assert first.headers["x-schedule"] == "optimized"
        assert digits.pixels(first.content) == expected
        # The service has no schedule of 5 steps: the request is served all the same.
        other = http.post("/generate", json={"seed": 1, "steps": 5}).raise_for_status()
        assert other.headers["x-schedule"] == "stock"
        assert digits.pixels(other.content) != expected
        assert http.post("/generate", json={"seed": 1}).headers["x-schedule"] == "optimized"


def test_fastapi_without_the_service(load):
    with Dead() as nobody, Running(load("fastapi_server", AYS_URL=nobody.url).app) as url:
        answer = httpx2.post(f"{url}/generate", json={"steps": 3}, timeout=60).raise_for_status()
        assert answer.headers["x-schedule"] == "stock"


@pytest.mark.usefixtures("load")
def test_litserve(expected):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"PORT": str(port), "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, EXAMPLES / "litserve_server.py"], env=environment, start_new_session=True)
    try:
        url, end = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while not healthy(url):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        answer = httpx2.post(f"{url}/predict", json={"seed": 1}, timeout=60).raise_for_status()
        assert digits.pixels(base64.b64decode(answer.json()["image"])) == expected
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def healthy(url):
    try:
        return httpx2.get(f"{url}/health").is_success
    except httpx2.TransportError:
        return False


def toolkit(folder):
    """Stands in for the Inference Toolkit, which is on no package index.

    Its rules: `handler.py` of the model's folder is imported, `EndpointHandler` made with that folder; a body must have `inputs`, and the
    handler gets all of it. https://huggingface.co/docs/inference-endpoints/guides/custom_handler
    """
    spec = importlib.util.spec_from_file_location("handler", folder / "handler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler = module.EndpointHandler(str(folder))

    def predict(body):
        assert "inputs" in body
        return handler(body)

    return predict


@pytest.mark.usefixtures("load")
def test_hugging_face(expected, tmp_path):
    folder = shutil.copytree(PIPELINE, tmp_path / "model")
    shutil.copy(EXAMPLES / "huggingface" / "handler.py", folder)
    predict = toolkit(folder)
    assert predict({"inputs": "", "parameters": {"seed": 1}}).tobytes() == expected
    assert predict({"inputs": "", "parameters": {"seed": 1, "num_inference_steps": 3}}).tobytes() != expected


def test_ray_serve(load, expected, monkeypatch):
    """Ray is heavy; a deployment is its class, bound by a decorator."""

    def deployment(cls):
        cls.bind = classmethod(lambda bound: bound)
        return cls

    ray = ModuleType("ray")
    ray.serve = SimpleNamespace(deployment=deployment)
    monkeypatch.setitem(sys.modules, "ray", ray)
    replica = load("ray_serve").app()

    async def receive():
        return {"type": "http.request", "body": b'{"seed": 1}', "more_body": False}

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with ThreadPoolExecutor(1) as pool:  # where no browser of another test runs a loop
        answer = pool.submit(lambda: asyncio.run(replica(request))).result()
    assert answer.media_type == "image/png"
    assert digits.pixels(answer.body) == expected
    assert scheduled(replica.pipe.scheduler)
