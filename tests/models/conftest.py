"""A diffusers folder of the bundled family with untrained weights, and a way to write models files."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline

from worker.models.digits.train import scheduler, unet


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `save_pretrained` writes it; do not change it."""
    folder = tmp_path_factory.mktemp("pipeline")
    torch.manual_seed(0)
    DDPMPipeline(unet=unet().eval(), scheduler=scheduler()).save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture
def copy(pipeline: Path, tmp_path: Path) -> Path:
    """A copy of the folder, to be changed."""
    return Path(shutil.copytree(pipeline, tmp_path / "copy"))


@pytest.fixture
def models_file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a models file."""

    def write(text: str) -> Path:
        path = tmp_path / "models.toml"
        path.write_text(text)
        return path

    return write
