"""Equal fingerprints for equal denoisers, others for others."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from worker.models.diffusers_entry import DiffusersEntry
from worker.models.diffusers_model import load_diffusers
from worker.models.fingerprint import file_digest
from worker.models.hub import Hub
from worker.models.registry import Registry

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def of(path: Path, **keys: object) -> str:
    return load_diffusers(DiffusersEntry(id=path.name, title="x", source=path, **keys), Hub(allowed=False)).fingerprint


def edit(path: Path, name: str, **changes: object) -> None:
    file = path / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_copies_are_the_same_model(pipeline: Path, copy: Path):
    assert of(copy) == of(pipeline)


def test_how_diffusers_samples_does_not_matter(pipeline: Path, copy: Path):
    edit(copy, "scheduler/scheduler_config.json", timestep_spacing="trailing", clip_sample=True, _diffusers_version="0.0")
    edit(copy, "unet/config.json", _diffusers_version="0.0", _name_or_path="elsewhere")
    assert of(copy) == of(pipeline)


def test_what_the_denoiser_depends_on_does(pipeline: Path, copy: Path):
    seen = {of(pipeline)}
    for changes in ({"beta_end": 0.03}, {"prediction_type": "v_prediction"}):
        edit(copy, "scheduler/scheduler_config.json", **changes)
        seen.add(of(copy))
    weights = load_file(copy / WEIGHTS)
    weights["conv_in.bias"] = weights["conv_in.bias"] + 1e-3
    save_file(weights, copy / WEIGHTS)
    seen.add(of(copy))
    assert len(seen) == 4


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path):
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    os.utime(path, ns=(1, 1))
    first = file_digest(path)
    assert file_digest(path) == first
    path.write_bytes(b"two")
    os.utime(path, ns=(2, 2))
    assert file_digest(path) != first


def test_factories(models_file: Callable[[str], Path]):
    def fingerprint(arguments: str) -> str:
        text = f'[models.x]\nkind = "factory"\nfactory = "tests.models.brought:good"\n[models.x.arguments]\n{arguments}\n'
        return Registry(models_file(text)).load("x").fingerprint

    assert fingerprint("width = 2.0") == fingerprint("width = 2.0")
    assert fingerprint("width = 2.0") != fingerprint("width = 2.1")
    # The argument and what it does both count: this one changes nothing but its own text.
    assert fingerprint("") != fingerprint("width = 1.0")


def test_a_factory_that_answers_differently_is_another_model(tmp_path: Path, models_file: Callable[[str], Path]):
    (tmp_path / "ays_retrained.py").write_text(
        "import os, torch\nfrom tests.models.brought import good\ndef make():\n    return good(float(os.environ['AYS_TEST_WIDTH']))\n"
    )
    registry = Registry(models_file('[models.x]\nkind = "factory"\nfactory = "ays_retrained:make"\n'))
    seen = []
    for width in ("1.0", "1.0", "1.5"):
        os.environ["AYS_TEST_WIDTH"] = width
        try:
            seen.append(registry.load("x").fingerprint)
        finally:
            del os.environ["AYS_TEST_WIDTH"]
    assert seen[0] == seen[1] != seen[2]
    assert torch.is_inference_mode_enabled() is False
