"""A diffusers pipeline on disk: what it holds is found and checked, and nothing of it is run.

Safetensors only: a `.bin` file is a pickle, which runs code when it is opened. Code that comes with a pipeline is never imported. A
file that leads out of the folder through a symbolic link is refused, so that a folder from elsewhere cannot make us read what it does
not hold.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.models.errors import ModelError

_INDEX, _CONFIG, _SCHEDULER_CONFIG = "model_index.json", "config.json", "scheduler_config.json"
_NETWORKS = ("unet", "transformer")
_STEM = "diffusion_pytorch_model"
_LIBRARIES = ("diffusers", "transformers")
_SAVE_AGAIN = "open it once where you trust it and call save_pretrained(folder, safe_serialization=True)"


@dataclass(frozen=True, kw_only=True)
class PipelineFolder:
    """A folder, checked; only its configuration files have been read.

    Attributes:
        where: subject of messages, such as `model 'x'`.
        path: the folder.
        root: links may lead anywhere below it: the folder itself, or the hub's cache of the repository.
        index: `model_index.json`, empty where there is none.
        network: subfolder of the denoising network; empty: the root.
    """

    where: str
    path: Path
    root: Path
    index: Mapping[str, Any]
    network: str

    def config(self, component: str) -> dict[str, Any]:
        """Read the configuration of a component.

        Raises:
            ModelError: it is missing, damaged or leads out of the folder.
        """
        name = _SCHEDULER_CONFIG if component == "scheduler" else _CONFIG
        return _read(self, _join(component, name) if (self.path / component).is_dir() else name)

    def has(self, component: str) -> bool:
        """Whether a component is there: named by the index, where there is one, and with a folder of its own."""
        entry = self.index.get(component, [None, None]) if self.index else [None, component]
        return entry[1] is not None and (self.path / component).is_dir()

    def weights(self, component: str, variant: str | None = None) -> tuple[str | None, tuple[Path, ...]]:
        """Find the safetensors files of a component of diffusers.

        Args:
            component: its subfolder; empty: the root.
            variant: the middle part of their names, such as `fp16`; None: none, or the only one there is.

        Returns:
            The variant and the files: one, or the shards in the order of their names.

        Raises:
            ModelError: there are none, only pickles, one is missing or leads out of the folder.
        """
        for found in [variant] if variant is not None else [None, *_variants(self.path / component)]:
            name = _variant_of(f"{_STEM}.safetensors", found)
            if (self.path / component / name).is_file():
                return found, (inside(self, _join(component, name)),)
            index = _variant_of(f"{_STEM}.safetensors.index.json", found)
            if (self.path / component / index).is_file():
                return found, _shards(self, component, index)
        raise _no_weights(self, component, variant)

    def files(self, component: str) -> tuple[Path, ...]:
        """All files of a component, each checked to lie in the folder; a pickle among them is refused where there is nothing else.

        Raises:
            ModelError: one leads out of the folder, or the weights are pickles.
        """
        folder = self.path / component
        names = sorted(file.relative_to(self.path).as_posix() for file in folder.rglob("*") if file.is_file() or file.is_symlink())
        found = tuple(inside(self, name) for name in names)
        if not any(file.suffix == ".safetensors" for file in found) and any(file.suffix in {".bin", ".pt", ".ckpt"} for file in found):
            raise _no_weights(self, component, None)
        return found


def read_folder(where: str, path: Path, *, root: Path | None = None) -> PipelineFolder:
    """Find the network and the scheduler of a folder: in subfolders, as `save_pretrained` writes them, or both in the root.

    Args:
        where: subject of messages.
        path: the folder.
        root: where links may lead to; None: the folder itself.

    Raises:
        ModelError: it is no pipeline of diffusers, or comes with code of its own.
    """
    if not path.is_dir():
        fix = "correct `path` in the models file"
        raise ModelError.of(where, received=f"path {path}", expected="a local diffusers folder", fix=fix)
    folder = PipelineFolder(where=where, path=path, root=root or path, index={}, network="")
    index = _read(folder, _INDEX) if (path / _INDEX).exists() else {}
    _check_index(where, index)
    networks = [name for name in _NETWORKS if (path / name).is_dir() and index.get(name, [None, name])[1] is not None]
    if len(networks) > 1 or index.get("transformer_2", [None, None])[1] is not None:
        received = "a pipeline of two denoising networks"
        fix = "bring it as a factory whose denoise(x, sigma) chooses between them"
        raise ModelError.of(where, received=received, expected="one", fix=fix)
    network = networks[0] if networks else ""
    return PipelineFolder(where=where, path=path, root=root or path, index=index, network=network)


def is_encoder(component: str) -> bool:
    """Whether a component encodes prompts."""
    return component.startswith(("text_encoder", "tokenizer"))


def inside(folder: PipelineFolder, name: str) -> Path:
    """Path of a file of the folder.

    Raises:
        ModelError: it leads out of the folder.
    """
    if not (folder.path / name).resolve().is_relative_to(folder.root.resolve()):
        fix = "copy the folder with its links followed (cp -rL) and name the copy"
        raise ModelError.of(folder.where, received=f"{name}, a link out of the folder", expected="a file inside the folder", fix=fix)
    return folder.path / name


def _read(folder: PipelineFolder, name: str) -> dict[str, Any]:
    try:
        config = json.loads(inside(folder, name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        received = f"no readable {name} ({error})"
        fix = "save the whole pipeline with save_pretrained"
        raise ModelError.of(folder.where, received=received, expected="a diffusers folder", fix=fix) from error
    if not isinstance(config, dict):
        fix = "save the pipeline again"
        raise ModelError.of(folder.where, received=f"{name} that is no object", expected="a JSON object", fix=fix)
    return config


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


def _variant_of(name: str, variant: str | None) -> str:
    if variant is None:
        return name
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.{variant}.{suffix}"


def _variants(folder: Path) -> list[str]:
    """The only variant of a folder, if there is one and no other."""
    names = [path.name for path in folder.glob(f"{_STEM}.*")]
    single = {name.split(".")[1] for name in names if name.endswith(".safetensors") and name.count(".") == 2 and "-of-" not in name}
    sharded = {name.split(".")[3] for name in names if name.count(".") == 4 and name.startswith(f"{_STEM}.safetensors.index.")}
    found = single | sharded
    return sorted(found) if len(found) == 1 else []


def _shards(folder: PipelineFolder, component: str, index: str) -> tuple[Path, ...]:
    names = _read(folder, _join(component, index)).get("weight_map")
    files = sorted(set(names.values())) if isinstance(names, dict) and all(isinstance(name, str) for name in names.values()) else []
    for name in files:
        if Path(name).name != name or not name.endswith(".safetensors"):
            fix = "save the pipeline again with save_pretrained"
            raise ModelError.of(folder.where, received=f"the shard {name!r}", expected="names of safetensors files", fix=fix)
    missing = [name for name in files if not (folder.path / component / name).is_file()]
    if missing or not files:
        received = f"no {missing[0]}" if missing else f"{index} without files"
        raise ModelError.of(folder.where, received=received, expected="every file of its index", fix="copy the whole folder")
    return tuple(inside(folder, _join(component, name)) for name in files)


def _join(component: str, name: str) -> str:
    return f"{component}/{name}" if component else name


def _no_weights(folder: PipelineFolder, component: str, variant: str | None) -> ModelError:
    names = [path.name for path in (folder.path / component).iterdir()] if (folder.path / component).is_dir() else []
    pickled = sorted(name for name in names if name.endswith((".bin", ".pt", ".ckpt")))
    wanted = _join(component, _variant_of(f"{_STEM}.safetensors", variant))
    others = sorted(name for name in names if name.endswith(".safetensors"))
    if others:
        fix = 'name the files with `variant`, such as variant = "fp16"'
        return ModelError.of(folder.where, received=", ".join(others), expected=wanted, fix=fix)
    received = f"{pickled[0]}, a pickle that would run code when opened" if pickled else f"no {wanted}"
    return ModelError.of(folder.where, received=received, expected=wanted, fix=_SAVE_AGAIN)
