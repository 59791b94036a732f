"""The hub: only where the operator allows it, only the pinned commit, only what the entry needs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.hub_server import REPOSITORY, REVISION, hub

ROOT = Path(__file__).resolve().parents[2]

LOAD = """
import json, socket, sys
connect = socket.socket.connect
def watched(self, address):
    print("connect", address, file=sys.stderr)
    return connect(self, address)
socket.socket.connect = watched
from pathlib import Path
from worker.models.errors import ModelError
from worker.models.registry import Registry
registry = Registry(Path(sys.argv[1]), allow_hub=sys.argv[2] == "1")
card = [card for card in registry.cards() if card.id == "tiny"][0]
try:
    model = registry.load("tiny")
    print(json.dumps({"shape": model.denoiser.shape, "fingerprint": model.fingerprint, "card": card.shape}))
except ModelError as error:
    print(json.dumps({"error": str(error), "card": card.shape}))
"""


def load(folder: Path, endpoint: str, *, allowed: bool) -> tuple[dict[str, object], str]:
    """Load the model in a process of its own: the hub's address and cache are read when its library is imported."""
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
    environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-c", LOAD, str(folder / "models.toml"), str(int(allowed))]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout), ended.stderr


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


def test_a_pinned_commit_is_downloaded_once_and_only_where_that_is_allowed(remote: Path, tmp_path: Path):
    (tmp_path / "models.toml").write_text(f'[models.tiny]\nkind = "diffusers"\nhub = "{REPOSITORY}"\nrevision = "{REVISION}"\n')
    with hub(remote) as (endpoint, asked):
        refused, log = load(tmp_path, endpoint, allowed=False)
        assert "set AYS_ALLOW_HUB=1" in str(refused["error"])
        assert refused["card"] is None
        assert asked == []
        assert "connect" not in log

        loaded, _ = load(tmp_path, endpoint, allowed=True)
        assert loaded["shape"] == [1, 8, 8]
        assert loaded["card"] is None
        fetched = {request.split(REVISION + "/")[1] for request in asked if request.startswith("GET") and "/resolve/" in request}
        weights = {name for name in fetched if not name.endswith(".json")}
        assert weights == {"unet/diffusion_pytorch_model.safetensors"}

        asked.clear()
        again, log = load(tmp_path, endpoint, allowed=False)
        assert again == {**loaded, "card": [1, 8, 8]}
        assert asked == []
        assert "connect" not in log


def test_a_commit_that_is_not_there_is_told(remote: Path, tmp_path: Path):
    (tmp_path / "models.toml").write_text(f'[models.tiny]\nkind = "diffusers"\nhub = "tests/gone"\nrevision = "{REVISION}"\n')
    with hub(remote) as (endpoint, _):
        told, _ = load(tmp_path, endpoint, allowed=True)
    assert "received tests/gone at 01234567" in str(told["error"])
    assert "correct hub and revision" in str(told["error"])
