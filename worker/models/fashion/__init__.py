"""The larger bundled model: an unconditional EDM of 28 x 28 Fashion-MNIST images, an ordinary diffusers folder in `pipeline/`."""

from pathlib import Path

PIPELINE = Path(__file__).parent / "pipeline"
"""The folder: `UNet2DModel` and `EDMEulerScheduler`, both opened by their `from_pretrained`."""

__all__ = ["PIPELINE"]
