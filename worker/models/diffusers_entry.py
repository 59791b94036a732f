"""An entry of the models file with `kind = "diffusers"`: where a pipeline is, and under which conditions it is measured."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from worker.models.compiled import BACKENDS
from worker.models.errors import ModelError
from worker.models.toml_table import Table

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_REVISION = re.compile(r"[0-9a-f]{40}")
_VARIANT = re.compile(r"[A-Za-z0-9_-]+")
_PRECISIONS = ("float32", "bfloat16", "float16")
_WHERE = ("path", "hub", "revision", "variant")
_HOW = ("precision", "compile", "compile_backend", "height", "width", "frames")
_GIVEN = ("guidance_scale", "prompts", "negative_prompt", "embeddings", "classes", "condition_images", "latents", "images")
_MOTION = ("fps", "motion_bucket_id", "noise_aug_strength")
_KEYS = frozenset({"kind", "title", "published", "steps_distilled", *_WHERE, *_HOW, *_GIVEN, *_MOTION})


@dataclass(frozen=True, kw_only=True)
class HubReference:
    """A repository of the Hugging Face hub at one commit.

    Attributes:
        repository: `owner/name`.
        revision: the commit, 40 hex digits.
    """

    repository: str
    revision: str


@dataclass(frozen=True, kw_only=True)
class DiffusersEntry:
    """A model in a diffusers pipeline.

    Attributes:
        id: name of the registry.
        title: one line for people.
        source: a local folder, or a commit on the hub.
        variant: of the weights' file names, such as `fp16`; null: none, or the only one there is.
        precision: of the forward pass, by its name in torch.
        compile: whether the network is compiled.
        compile_backend: of `torch.compile`.
        height: of images, in pixels; null: the network's own.
        width: of images, in pixels; null: the network's own.
        frames: of videos; null: the family's usual.
        guidance_scale: null: the one that the family's pipeline uses.
        prompts: text file, one a line; null: the captions in the box.
        negative_prompt: of guidance; null: the pipeline's own.
        embeddings: safetensors file of conditions, instead of prompts.
        classes: text file of class labels, one a line; null: spread over all of them.
        condition_images: image, or folder of images, that videos begin with.
        motion: of videos made from an image, by the names of `Motion`; what is not named is as in the pipeline.
        latents: safetensors file of clean samples, for forward paths.
        images: folder of images, for forward paths.
        published: name of the published table that may serve it, or None.
        steps_distilled: whether the network is distilled to few steps, and so has no schedule to look for.
    """

    id: str
    title: str
    source: Path | HubReference
    variant: str | None = None
    precision: str = "float32"
    compile: bool = False
    compile_backend: str = BACKENDS[0]
    height: int | None = None
    width: int | None = None
    frames: int | None = None
    guidance_scale: float | None = None
    prompts: Path | None = None
    negative_prompt: str | None = None
    embeddings: Path | None = None
    classes: Path | None = None
    condition_images: Path | None = None
    motion: Mapping[str, int | float] = field(default_factory=dict)
    latents: Path | None = None
    images: Path | None = None
    published: str | None = None
    steps_distilled: bool = False


def read_diffusers_entry(name: str, title: str, table: Table) -> DiffusersEntry:
    """Check a table.

    Args:
        name: the entry's id.
        title: its title.
        table: its content.

    Raises:
        ModelError: a key is unknown, has an impossible value, or contradicts another.
    """
    table.only(_KEYS)
    _at_most_one(table, "prompts", "embeddings", "classes", "condition_images")
    _at_most_one(table, "negative_prompt", "embeddings")
    _at_most_one(table, "negative_prompt", "classes")
    _at_most_one(table, "latents", "images")
    return DiffusersEntry(
        id=name,
        title=title,
        source=_source(table),
        variant=_matching(table, "variant", _VARIANT) if "variant" in table.keys else None,
        precision=table.choice("precision", _PRECISIONS, "float32"),
        compile=table.switch("compile"),
        compile_backend=table.choice("compile_backend", BACKENDS, BACKENDS[0]),
        height=table.count("height"),
        width=table.count("width"),
        frames=table.count("frames"),
        guidance_scale=table.number("guidance_scale", low=0, high=100),
        prompts=table.path("prompts"),
        negative_prompt="" if table.get("negative_prompt") == "" else table.optional_text("negative_prompt"),
        embeddings=table.path("embeddings"),
        classes=table.path("classes"),
        condition_images=table.path("condition_images"),
        motion=_motion(table),
        latents=table.path("latents"),
        images=table.path("images"),
        published=table.optional_text("published"),
        steps_distilled=table.distilled(),
    )


def _source(table: Table) -> Path | HubReference:
    _at_most_one(table, "path", "hub")
    if "hub" not in table.keys:
        path = table.path("path")
        if path is None:
            fix = 'write path = "folder", or hub = "owner/name" and revision = "<commit>"'
            raise ModelError.of(table.where, received="neither path nor hub", expected="where the pipeline is", fix=fix)
        if "revision" in table.keys:
            fix = "remove revision: a folder is what it is"
            raise ModelError.of(table.where, received="revision beside path", expected="revision beside hub", fix=fix)
        return path
    # A branch moves: what was measured must be what is served.
    return HubReference(repository=_matching(table, "hub", _REPOSITORY), revision=_matching(table, "revision", _REVISION))


def _motion(table: Table) -> dict[str, int | float]:
    values = {
        "fps": table.count("fps"),
        "motion_bucket_id": table.count("motion_bucket_id"),
        "noise_aug_strength": table.number("noise_aug_strength", low=0, high=10),
    }
    return {name: value for name, value in values.items() if value is not None}


def _matching(table: Table, key: str, pattern: re.Pattern[str]) -> str:
    value = table.text(key)
    if not pattern.fullmatch(value) or ".." in value:
        expected = {
            "hub": '"owner/name" of a repository on the Hugging Face hub',
            "revision": "the commit, 40 hex digits: a branch or tag can move",
        }.get(key, f"a text that matches {pattern.pattern}")
        raise ModelError.of(table.where, received=f"{key} = {value!r}", expected=expected, fix=f"correct {key}")
    return value


def _at_most_one(table: Table, *keys: str) -> None:
    given = [key for key in keys if key in table.keys]
    if len(given) > 1:
        received = " and ".join(given)
        raise ModelError.of(table.where, received=received, expected=f"one of {', '.join(keys)}", fix="remove the others")
