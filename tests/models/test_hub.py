"""The hub: only where the operator allows it, only the pinned commit, only what the entry needs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.models.hub_server import REPOSITORY, REVISION, hub

ROOT = Path(__file__).resolve().parents[2]

LOAD = """
import json, socket, sys
connect = socket.socket.connect
def watched(self, address):
    print("connect", address, file=sys.stderr, flush=True)
    return connect(self, address)
socket.socket.connect = watched
from pathlib import Path
from worker.models.errors import ModelError
from worker.models.registry import Registry
for line in sys.stdin:
    registry = Registry(Path(sys.argv[1]), allow_hub=line == "allowed\\n")
    card = [card for card in registry.cards() if card.id == "tiny"][0]
    try:
        model = registry.load("tiny")
        told = {"shape": model.denoiser.shape, "fingerprint": model.fingerprint, "card": card.shape}
    except ModelError as error:
        told = {"error": str(error), "card": card.shape}
    print(json.dumps(told), flush=True)
"""


class Loading:
    """A process that loads the model as often as it is asked to, each time from a registry of its own."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self._process, self._log = process, log

    def load(self, *, allowed: bool) -> dict[str, object]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("allowed\n" if allowed else "refused\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, self._log.read_text()
        told: dict[str, object] = json.loads(answer)
        return told

    @property
    def connections(self) -> int:
        """Connections so far."""
        return self._log.read_text().count("connect ")


@contextmanager
def loading(folder: Path, endpoint: str) -> Iterator[Loading]:
    """A process of its own, as the hub's address and cache are read when its library is imported; one, as that takes seconds."""
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
    environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command, log = [sys.executable, "-c", LOAD, str(folder / "models.toml")], folder / "log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        yield Loading(process, log)
    assert process.returncode == 0, log.read_text()


@pytest.fixture
def remote(copy: Path) -> Path:
    """A repository with things in it that nobody needs."""
    (copy / "unet/diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    (copy / "unet/diffusion_pytorch_model.fp16.safetensors").write_bytes(b"another variant")
    (copy / "pipeline.py").write_text("raise SystemExit\n")
    (copy / "sample.png").write_bytes(b"a picture")
    (copy / "text_encoder").mkdir()
    (copy / "text_encoder/config.json").write_text("{}")
    (copy / "text_encoder/model.safetensors").write_bytes(b"not needed")
    return copy


def test_a_pinned_commit_is_downloaded_once_where_that_is_allowed_and_one_that_is_not_there_is_told(remote: Path, tmp_path: Path):
    models = tmp_path / "models.toml"
    models.write_text(f'[models.tiny]\nkind = "diffusers"\nhub = "{REPOSITORY}"\nrevision = "{REVISION}"\n')
    with hub(remote) as (endpoint, asked), loading(tmp_path, endpoint) as process:
        refused = process.load(allowed=False)
        assert "set AYS_ALLOW_HUB=1" in str(refused["error"])
        assert refused["card"] is None
        assert asked == []
        assert process.connections == 0

        loaded = process.load(allowed=True)
        assert loaded["shape"] == [1, 8, 8]
        assert loaded["card"] is None
        fetched = {request.split(REVISION + "/")[1] for request in asked if request.startswith("GET") and "/resolve/" in request}
        weights = {name for name in fetched if not name.endswith(".json")}
        assert weights == {"unet/diffusion_pytorch_model.safetensors"}

        asked.clear()
        before = process.connections
        again = process.load(allowed=False)
        assert again == {**loaded, "card": [1, 8, 8]}
        assert asked == []
        assert process.connections == before > 0

        models.write_text(f'[models.tiny]\nkind = "diffusers"\nhub = "tests/gone"\nrevision = "{REVISION}"\n')
        told = process.load(allowed=True)
    assert "received tests/gone at 01234567" in str(told["error"])
    assert "correct hub and revision" in str(told["error"])
