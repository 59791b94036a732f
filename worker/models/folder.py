"""A diffusers pipeline on disk: what it holds is found and checked, and nothing of it is run.

Safetensors only: a `.bin` file is a pickle, which runs code when it is opened. Code that comes with a pipeline is never imported. A
file that leads out of the folder through a symbolic link is refused, so that a folder from elsewhere cannot make us read what it does
not hold.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from worker.models.errors import ModelError
from worker.models.limits import LARGEST_JSON, LARGEST_MODEL

_INDEX, _CONFIG, _SCHEDULER_CONFIG = "model_index.json", "config.json", "scheduler_config.json"
_NETWORKS = ("unet", "transformer")
_LIBRARIES = ("diffusers", "transformers")


@dataclass(frozen=True, kw_only=True)
class PipelineFolder:
    """A folder, checked; only its configuration files have been read.

    Attributes:
        where: subject of messages, such as `model 'x'`.
        path: the folder.
        root: links may lead anywhere below it: the folder itself, or the hub's cache of the repository.
        index: `model_index.json`, empty where there is none.
        network: subfolder of the denoising network; empty: the root.
        limit: largest size of a component's weights, in bytes.
    """

    where: str
    path: Path
    root: Path
    index: Mapping[str, Any]
    network: str
    limit: int

    def config(self, component: str) -> dict[str, Any]:
        """Read the configuration of a component.

        Raises:
            ModelError: it is missing, damaged or leads out of the folder.
        """
        name = _SCHEDULER_CONFIG if component == "scheduler" else _CONFIG
        return read_json(self, join(component, name) if (self.path / component).is_dir() else name)

    def has(self, component: str) -> bool:
        """Whether a component is there: named by the index, where there is one, and with a folder of its own."""
        listed = _class_of(self.index, component) is not None if self.index else True
        return listed and (self.path / component).is_dir()


def read_folder(where: str, path: Path, *, root: Path | None = None, limit: int = LARGEST_MODEL) -> PipelineFolder:
    """Find the network and the scheduler of a folder: in subfolders, as `save_pretrained` writes them, or both in the root.

    Args:
        where: subject of messages.
        path: the folder.
        root: where links may lead to; None: the folder itself.
        limit: largest size of a component's weights, in bytes.

    Raises:
        ModelError: it is no pipeline of diffusers, or comes with code of its own.
    """
    if not path.is_dir():
        fix = "correct `path` in the models file"
        raise ModelError.of(where, received=f"path {path}", expected="a local diffusers folder", fix=fix)
    folder = PipelineFolder(where=where, path=path, root=root or path, index={}, network="", limit=limit)
    index = read_json(folder, _INDEX) if (path / _INDEX).exists() else {}
    _check_index(where, index)
    networks = [name for name in _NETWORKS if (path / name).is_dir() and (name not in index or _class_of(index, name) is not None)]
    if len(networks) > 1 or _class_of(index, "transformer_2") is not None:
        received = "a pipeline of two denoising networks"
        fix = "bring it as a factory whose denoise(x, sigma) chooses between them"
        raise ModelError.of(where, received=received, expected="one", fix=fix)
    network = networks[0] if networks else ""
    return replace(folder, index=index, network=network)


def inside(folder: PipelineFolder, name: str) -> Path:
    """Path of a file of the folder.

    Raises:
        ModelError: it leads out of the folder.
    """
    if not (folder.path / name).resolve().is_relative_to(folder.root.resolve()):
        fix = "copy the folder with its links followed (cp -rL) and name the copy"
        raise ModelError.of(folder.where, received=f"{name}, a link out of the folder", expected="a file inside the folder", fix=fix)
    return folder.path / name


def read_json(folder: PipelineFolder, name: str) -> dict[str, Any]:
    """Read a configuration file.

    Raises:
        ModelError: it is missing, damaged, too large or leads out of the folder.
    """
    path = inside(folder, name)
    try:
        if path.exists() and (not path.is_file() or path.stat().st_size > LARGEST_JSON):
            msg = f"a file of at most {LARGEST_JSON:,} bytes is expected"
            raise ValueError(msg)  # noqa: TRY301 (told together with what reading finds wrong)
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        received = f"no readable {name} ({error})"
        fix = "save the whole pipeline with save_pretrained"
        raise ModelError.of(folder.where, received=received, expected="a diffusers folder", fix=fix) from error
    if not isinstance(config, dict):
        fix = "save the pipeline again"
        raise ModelError.of(folder.where, received=f"{name} that is no object", expected="a JSON object", fix=fix)
    return config


def join(component: str, name: str) -> str:
    """Name of a component's file; of the root where the component is empty."""
    return f"{component}/{name}" if component else name


def _class_of(index: Mapping[str, Any], component: str) -> str | None:
    """The class that the index names for a component, null for a component that is absent."""
    entry = index.get(component)
    return entry[1] if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str) else None


def _check_index(where: str, index: Mapping[str, Any]) -> None:
    """Every component is `[library, class]` of a library that we know; a pipeline with code of its own names a file instead."""
    for name, entry in index.items():
        if name.startswith("_") and name != "_class_name":
            continue
        known = isinstance(entry, str) if name == "_class_name" else not isinstance(entry, list) or _is_component(entry)
        if not known:
            expected = "components of diffusers and transformers"
            fix = "code that comes with a pipeline is never run: bring the model as a factory"
            raise ModelError.of(where, received=f"{name} = {entry!r} in {_INDEX}", expected=expected, fix=fix)


def _is_component(entry: Sequence[object]) -> bool:
    """Whether a list is `[library, class]`, or an absent component; lists of other values are settings of the pipeline."""
    if len(entry) != 2 or not all(isinstance(part, str | None) for part in entry):
        return all(not isinstance(part, str) for part in entry)
    # A module of diffusers' own pipelines, such as `stable_diffusion`, holds the safety checker and is never loaded by us.
    return entry[1] is None or entry[0] in _LIBRARIES or entry[0] in {"stable_diffusion", "deepfloyd_if"}
