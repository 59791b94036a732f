"""The weights of a component: which safetensors files they are, checked before they are hashed or loaded.

Safetensors only: a `.bin` file is a pickle, which runs code when it is opened.
"""

from pathlib import Path

from worker.models.errors import ModelError
from worker.models.folder import PipelineFolder, inside, join, read_json
from worker.models.safetensors_file import check_safetensors, check_size

_STEMS = ("diffusion_pytorch_model", "model")
"""Beginnings of the names of weights: of diffusers, and of transformers."""

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_SETTINGS = frozenset({".json", ".txt", ".model"})
_SAVE_AGAIN = "open it once where you trust it and call save_pretrained(folder, safe_serialization=True)"


def find_weights(folder: PipelineFolder, component: str, variant: str | None = None) -> tuple[str | None, tuple[Path, ...]]:
    """Find and check the safetensors files of a component.

    Args:
        folder: the pipeline.
        component: its subfolder; empty: the root.
        variant: the middle part of their names, such as `fp16`; None: none, or the only one there is.

    Returns:
        The variant and the files: one, or the shards in the order of their names.

    Raises:
        ModelError: there are none, only pickles, one is missing, leads out of the folder or is damaged, or they are too large.
    """
    for stem in _STEMS:
        for found in [variant] if variant is not None else [None, *_variants(folder.path / component, stem)]:
            name = _variant_of(f"{stem}.safetensors", found)
            index = _variant_of(f"{stem}.safetensors.index.json", found)
            if (folder.path / component / name).is_file():
                return found, _checked(folder, component, [name])
            if (folder.path / component / index).is_file():
                return found, _checked(folder, component, _shards(folder, component, index))
    raise _no_weights(folder, component, variant)


def encoder_files(folder: PipelineFolder, component: str, variant: str | None = None) -> tuple[str | None, tuple[Path, ...]]:
    """The files of an encoder or tokenizer that are loaded: its settings and vocabulary, and its weights where it has some.

    Args:
        folder: the pipeline.
        component: its subfolder.
        variant: preferred middle part of the weights' names; where the encoder has no such weights, it is as if it were None.

    Returns:
        The variant of the weights, and the files.

    Raises:
        ModelError: as `find_weights`.
    """
    paths = sorted((folder.path / component).iterdir())
    settings = tuple(inside(folder, join(component, path.name)) for path in paths if path.suffix in _SETTINGS)
    if not any(path.suffix in {".safetensors", *_PICKLES} for path in paths):
        return None, settings
    has_variant = variant is not None and any(path.name.split(".")[1:2] == [variant] or f".{variant}." in path.name for path in paths)
    found, weights = find_weights(folder, component, variant if has_variant else None)
    return found, tuple(sorted((*settings, *weights)))


def _variant_of(name: str, variant: str | None) -> str:
    if variant is None:
        return name
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.{variant}.{suffix}"


def _variants(folder: Path, stem: str) -> list[str]:
    """The only variant of a folder, if there is one and no other."""
    names = [path.name for path in folder.glob(f"{stem}.*")]
    single = {name.split(".")[1] for name in names if name.endswith(".safetensors") and name.count(".") == 2 and "-of-" not in name}
    sharded = {name.split(".")[3] for name in names if name.count(".") == 4 and name.startswith(f"{stem}.safetensors.index.")}
    found = single | sharded
    return sorted(found) if len(found) == 1 else []


def _shards(folder: PipelineFolder, component: str, index: str) -> list[str]:
    names = read_json(folder, join(component, index)).get("weight_map")
    files = sorted(set(names.values())) if isinstance(names, dict) and all(isinstance(name, str) for name in names.values()) else []
    for name in files:
        if Path(name).name != name or not name.endswith(".safetensors"):
            fix = "save the pipeline again with save_pretrained"
            raise ModelError.of(folder.where, received=f"the shard {name!r}", expected="names of safetensors files", fix=fix)
    missing = [name for name in files if not (folder.path / component / name).is_file()]
    if missing or not files:
        received = f"no {missing[0]}" if missing else f"{index} without files"
        raise ModelError.of(folder.where, received=received, expected="every file of its index", fix="copy the whole folder")
    return files


def _checked(folder: PipelineFolder, component: str, names: list[str]) -> tuple[Path, ...]:
    paths = {join(component, name): inside(folder, join(component, name)) for name in names}
    check_size(folder.where, component or "the folder", sum(path.stat().st_size for path in paths.values()), folder.limit)
    for name, path in paths.items():
        check_safetensors(folder.where, name, path)
    return tuple(paths.values())


def _no_weights(folder: PipelineFolder, component: str, variant: str | None) -> ModelError:
    names = [path.name for path in (folder.path / component).iterdir()] if (folder.path / component).is_dir() else []
    pickled = sorted(name for name in names if name.endswith(_PICKLES))
    wanted = join(component, _variant_of(f"{_STEMS[0]}.safetensors", variant))
    others = sorted(name for name in names if name.endswith(".safetensors"))
    if others:
        fix = 'name the files with `variant`, such as variant = "fp16"'
        return ModelError.of(folder.where, received=", ".join(others), expected=wanted, fix=fix)
    received = f"{pickled[0]}, a pickle that would run code when opened" if pickled else f"no {wanted}"
    return ModelError.of(folder.where, received=received, expected=wanted, fix=_SAVE_AGAIN)
