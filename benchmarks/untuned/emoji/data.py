"""Emoji as a diffusion data set: colour images on white, values in [-1, 1], with what makes few of them more.

The archive holds `images`, uint8 of shape (n, 32, 32, 3), in random order: the glyphs of Noto Color Emoji (font SIL OFL 1.1, artwork
Apache 2.0; copyright Google and others). Only training and testing read it.
"""

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SIZE, HELD_OUT = 32, 373
"""Side of the images, and how many of the last ones training never sees."""

COLUMNS = 25
"""Images in a row of a sheet."""

HELD_OUT_SHEET = Path(__file__).parent / "held-out-16.png"

_SHIFT, _HUE, _RECOLOURED = 2, math.pi / 6, 0.33
"""Largest shift in pixels, largest turn of the hue, and the share of images that are turned."""


def emoji(path: Path) -> tuple[Tensor, Tensor]:
    """Load the training and the held-out images.

    Args:
        path: the archive.

    Returns:
        `(train, held_out)`, float32 in [-1, 1], of shapes (n - 373, 3, 32, 32) and (373, 3, 32, 32).

    Raises:
        FileNotFoundError: the archive is not there.
    """
    with np.load(path, allow_pickle=False) as archive:
        images = torch.from_numpy(archive["images"].astype(np.float32) / 127.5 - 1.0).permute(0, 3, 1, 2).contiguous()
    return images[:-HELD_OUT], images[-HELD_OUT:]


def pooled(images: Tensor, size: int) -> Tensor:
    """Averages over square blocks: images of shape (n, 3, 32, 32) -> (n, 3, size, size); size divides 32."""
    return torch.nn.functional.avg_pool2d(images, SIZE // size)


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the images, shift all by up to two pixels over the white around them, and turn the hue of a third.

    Args:
        images: shape (n, 3, 32, 32).
        generator: source of the choices, on the device of the images.
    """
    n, device = len(images), images.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    column = torch.arange(SIZE, device=device)
    columns = torch.where(uniform(n, 1) < 0.5, column.flip(0), column)
    row_shift, column_shift = torch.randint(2 * _SHIFT + 1, (2, n, 1), generator=generator, device=device)
    padded = torch.nn.functional.pad(images, (_SHIFT,) * 4, value=1.0).permute(0, 2, 3, 1)
    index = torch.arange(n, device=device).view(-1, 1, 1)
    moved = padded[index, (column + row_shift).unsqueeze(2), (columns + column_shift).unsqueeze(1)]
    angle = torch.where(uniform(n) < _RECOLOURED, _HUE * (2 * uniform(n) - 1), 0.0)
    return torch.einsum("nij,nhwj->nihw", hue_rotation(angle), moved).clamp(-1, 1)


def hue_rotation(angle: Tensor) -> Tensor:
    """Rotations of colour space about its grey axis (Rodrigues' formula), shape (n, 3, 3) for angles of shape (n,)."""
    axis = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]).to(angle) / math.sqrt(3)
    sine, cosine = angle.sin().view(-1, 1, 1), angle.cos().view(-1, 1, 1)
    return torch.eye(3).to(angle) + sine * axis + (1 - cosine) * (axis @ axis)


def save_sheet(images: Tensor, path: Path) -> None:
    """Write images of shape (n, 3, size, size) side by side as a PNG, `COLUMNS` in a row, the last row filled with white."""
    n, _, size, _ = images.shape
    rows = -(-n // COLUMNS)
    tiles = torch.cat([images, torch.ones(rows * COLUMNS - n, 3, size, size)]).reshape(rows, COLUMNS, 3, size, size)
    sheet = ((tiles.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 3, 1, 4, 2).reshape(rows * size, COLUMNS * size, 3)
    Image.fromarray(sheet.numpy()).save(path, optimize=True)


def stored_held_out() -> Tensor:
    """The held-out images averaged to 16 x 16, from the sheet beside this file; shape (373, 3, 16, 16), float32 in [-1, 1]."""
    size = 16
    sheet = torch.from_numpy(np.asarray(Image.open(HELD_OUT_SHEET), dtype=np.float32) / 127.5 - 1.0)
    tiles = sheet.reshape(-1, size, COLUMNS, size, 3).permute(0, 2, 4, 1, 3).reshape(-1, 3, size, size)
    return tiles[:HELD_OUT].contiguous()
