"""The bundled model: an unconditional DDPM of 8 x 8 handwritten digits, an ordinary diffusers folder in `pipeline/`."""

from pathlib import Path

PIPELINE = Path(__file__).parent / "pipeline"
"""The folder that `diffusers.DDPMPipeline.from_pretrained` opens."""

__all__ = ["PIPELINE"]
