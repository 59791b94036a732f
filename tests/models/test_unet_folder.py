"""Folders that must be refused, and why."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from worker.models.errors import ModelError
from worker.models.unet_folder import WEIGHTS, read_unet_folder


def edit(path: Path, name: str, **changes: object) -> None:
    file = path / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


NETWORK, SCHEDULER = "unet/config.json", "scheduler/scheduler_config.json"


def test_the_folder_must_exist(tmp_path: Path):
    with pytest.raises(ModelError, match=r"received path .*gone; expected a local diffusers folder; fix: .*nothing is ever downloaded"):
        read_unet_folder("model 'x'", tmp_path / "gone")


def test_a_pickle_is_refused(copy: Path):
    (copy / WEIGHTS).unlink()
    (copy / "unet/diffusion_pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ModelError, match=r"diffusion_pytorch_model.bin, a pickle .*safe_serialization=True"):
        read_unet_folder("model 'x'", copy)


@pytest.mark.parametrize("name", [NETWORK, SCHEDULER, WEIGHTS])
def test_a_link_out_of_the_folder_is_refused(copy: Path, tmp_path: Path, name: str):
    outside = tmp_path / "outside"
    shutil.move(copy / name, outside)
    (copy / name).symlink_to(outside)
    with pytest.raises(ModelError, match=f"received {name}, a link out of the folder"):
        read_unet_folder("model 'x'", copy)


def test_a_linked_subfolder_is_refused(copy: Path, tmp_path: Path):
    shutil.move(copy / "unet", tmp_path / "elsewhere")
    (copy / "unet").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="a link out of the folder"):
        read_unet_folder("model 'x'", copy)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            NETWORK,
            {"_class_name": "UNet2DConditionModel"},
            "received a UNet2DConditionModel; expected an unconditional UNet2DModel",
        ),
        (NETWORK, {"num_class_embeds": 10}, "class-conditional"),
        (NETWORK, {"out_channels": 3}, "received 1 channels in, 3 out"),
        (NETWORK, {"sample_size": None}, "received sample_size None"),
        (SCHEDULER, {"_class_name": "KarrasVeScheduler"}, "expected the scheduler of training, one of DDPMScheduler, "),
        (SCHEDULER, {"prediction_type": "score"}, "expected one of epsilon, v_prediction, sample"),
        (SCHEDULER, {"beta_schedule": "sigmoid"}, "received beta_schedule 'sigmoid'"),
        (SCHEDULER, {"_class_name": "EDMEulerScheduler", "sigma_max": 1e999}, "a process that cannot be"),
        (SCHEDULER, {"_class_name": "EDMEulerScheduler", "prediction_type": "sample"}, "a process that cannot be"),
        (SCHEDULER, {"beta_start": -1}, "a process that cannot be"),
        (SCHEDULER, {"beta_start": "fast"}, "a process that cannot be"),
    ],
)
def test_other_families_are_refused(copy: Path, name: str, changes: dict[str, object], message: str):
    edit(copy, name, **changes)
    with pytest.raises(ModelError, match=message):
        read_unet_folder("model 'x'", copy)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_a_damaged_configuration_is_refused(copy: Path, text: str):
    (copy / NETWORK).write_text(text)
    with pytest.raises(ModelError, match=NETWORK):
        read_unet_folder("model 'x'", copy)


def test_damaged_weights_are_refused(copy: Path):
    data = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="weights that do not load"):
        read_unet_folder("model 'x'", copy).load(torch.device("cpu"))


def test_weights_of_another_size_are_refused(copy: Path):
    edit(copy, NETWORK, block_out_channels=[32, 64])
    with pytest.raises(ModelError, match="weights that do not load"):
        read_unet_folder("model 'x'", copy).load(torch.device("cpu"))
