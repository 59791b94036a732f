"""Colour images under flow matching: a small network of 16 x 16 emoji, and the recipe of a larger one of 32 x 32."""

from pathlib import Path

FOLDER = Path(__file__).parent


def pipeline_folder(size: int) -> Path:
    """Where the network of that image size lies: subfolders `unet` and `scheduler` of a diffusers pipeline."""
    return FOLDER / f"pipeline-{size}"
