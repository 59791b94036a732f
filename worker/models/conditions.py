"""Conditions: what the samples of a model are given, such as encoded prompts or class labels; path i has condition i mod n."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from worker.models.errors import ModelError
from worker.models.families.adapter import CLASS_LABELS, Adapter, Given
from worker.models.safetensors_file import read_tensors

NEGATIVE = "negative_"
_SPREAD = 64


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Conditions in memory.

    Attributes:
        count: how many.
        given: each tensor has shape (count, ...).
        unconditional: the same of the unconditional side of guidance, each of shape (1, ...) or (count, ...); null without.
    """

    count: int
    given: Given
    unconditional: Given | None

    def rows(self, index: Tensor) -> Given:
        """Conditions of samples, each of shape (len(index), ...)."""
        return {name: values[index] for name, values in self.given.items()}

    def unconditional_rows(self, index: Tensor) -> Given:
        """Conditions of the unconditional side, each of shape (len(index), ...)."""
        assert self.unconditional is not None
        return {name: values[index % len(values)] for name, values in self.unconditional.items()}

    def to(self, device: torch.device, dtype: torch.dtype) -> "Conditions":
        """The same on a device, what is floating in a precision."""

        def moved(tensors: Given) -> Given:
            return {name: value.to(device, dtype if value.is_floating_point() else None) for name, value in tensors.items()}

        unconditional = None if self.unconditional is None else moved(self.unconditional)
        return Conditions(count=self.count, given=moved(self.given), unconditional=unconditional)


def collect(where: str, tensors: Mapping[str, Tensor], adapter: Adapter) -> Conditions:
    """Arrange named tensors as the conditions of a family.

    Args:
        where: subject of messages.
        tensors: by name; those of the unconditional side begin with `negative_`, and are needed for guidance alone.
        adapter: the family.

    Raises:
        ModelError: one is missing, not of the family, not finite, or their lengths differ.
    """
    allowed = {prefix + name for name in adapter.needs for prefix in ("", NEGATIVE)}
    missing, unknown = sorted(set(adapter.needs) - set(tensors)), sorted(set(tensors) - allowed)
    if missing or unknown:
        received = "tensors " + ", ".join(sorted(tensors))
        expected = ", ".join(adapter.needs) + ", and for guidance the same with negative_ in front"
        raise ModelError.of(where, received=received, expected=expected, fix="name the tensors as diffusers' pipelines name them")
    given = {name: tensors[name] for name in adapter.needs}
    count = len(given[adapter.needs[0]]) if given[adapter.needs[0]].ndim else 0
    for name, tensor in tensors.items():
        fits = tensor.ndim > 0 and len(tensor) in ({count} if name in given else {1, count}) and count > 0
        if not fits or not bool(torch.isfinite(tensor).all()):
            expected = f"{count} finite rows" if name in given else f"1 or {count} finite rows"
            received = f"{name} of shape {tuple(tensor.shape)}"
            raise ModelError.of(where, received=received, expected=expected, fix="encode all conditions together")
    negative = {name: tensors[NEGATIVE + name] for name in adapter.needs if NEGATIVE + name in tensors}
    complete = len(negative) == len(adapter.needs)
    return Conditions(count=count, given=given, unconditional=negative if complete else adapter.unconditional(given))


def read_embeddings(where: str, path: Path, adapter: Adapter, *, limit: int) -> Conditions:
    """Read cached conditions from a safetensors file of at most `limit` bytes.

    Raises:
        ModelError: the file cannot be read, or is not of the family.
    """
    return collect(where, read_tensors(where, "embeddings", path, limit=limit), adapter)


def class_conditions(where: str, labels: Sequence[int] | None, adapter: Adapter) -> Conditions:
    """Class labels as conditions.

    Args:
        where: subject of messages.
        labels: the labels; None: up to 64, spread evenly over the classes.
        adapter: the family.

    Raises:
        ModelError: a label is no class of the model.
    """
    classes = adapter.classes
    if labels is None:
        count = min(classes, _SPREAD)
        labels = [i * classes // count for i in range(count)]
    wrong = [label for label in labels if not 0 <= label < classes]
    if wrong or not labels:
        received = f"the class {wrong[0]}" if wrong else "no classes"
        fix = "correct the file named by `classes`"
        raise ModelError.of(where, received=received, expected=f"classes from 0 to {classes - 1}", fix=fix)
    return collect(where, {CLASS_LABELS: torch.tensor(labels)}, adapter)


def read_lines(where: str, key: str, path: Path) -> list[str]:
    """Lines of a text file that are neither empty nor comments (`#`), without surrounding blanks.

    Raises:
        ModelError: the file cannot be read, or holds no line.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        fix = f"correct `{key}` in the models file"
        raise ModelError.of(where, received=f"{path} ({error})", expected="a text file", fix=fix) from error
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise ModelError.of(where, received=f"{path} without a line", expected="one a line", fix=f"write {key} into it")
    return found


def read_classes(where: str, path: Path) -> list[int]:
    """Class labels, one a line.

    Raises:
        ModelError: the file cannot be read, or holds something else.
    """
    lines = read_lines(where, "classes", path)
    wrong = [line for line in lines if not line.isdecimal()]
    if wrong:
        fix = "write one whole number a line"
        raise ModelError.of(where, received=f"the line {wrong[0]!r} in {path}", expected="a class label", fix=fix)
    return [int(line) for line in lines]
