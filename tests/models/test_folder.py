"""Folders: where their parts may lie, and those that must be refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DModel
from safetensors.torch import load_file, save_file

from worker.models.diffusers_entry import DiffusersEntry
from worker.models.diffusers_model import load_diffusers
from worker.models.errors import ModelError
from worker.models.folder import read_folder
from worker.models.hub import Hub
from worker.models.reading import Reading, read_pipeline

NETWORK, SCHEDULER, INDEX = "unet/config.json", "scheduler/scheduler_config.json", "model_index.json"
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def edit(path: Path, name: str, **changes: object) -> None:
    file = path / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def read(path: Path) -> Reading:
    return read_pipeline(DiffusersEntry(id="x", title="x", source=path), read_folder("model 'x'", path))


def load(path: Path, **keys: object) -> torch.Tensor:
    """What the model of a folder answers to a fixed question."""
    model = load_diffusers(DiffusersEntry(id="x", title="x", source=path, **keys), Hub(allowed=False))
    x = torch.randn(2, *model.denoiser.shape, generator=torch.Generator().manual_seed(0))
    return model.denoiser.denoise(x, torch.tensor([0.5, 5.0]))


def test_the_folder_must_exist(tmp_path: Path):
    with pytest.raises(ModelError, match=r"received path .*gone; expected a local diffusers folder; fix: correct `path`"):
        read(tmp_path / "gone")


def test_a_pickle_is_refused(copy: Path):
    (copy / WEIGHTS).unlink()
    (copy / "unet/diffusion_pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ModelError, match=r"diffusion_pytorch_model.bin, a pickle .*safe_serialization=True"):
        load(copy)


@pytest.mark.parametrize("name", [NETWORK, SCHEDULER, WEIGHTS])
def test_a_link_out_of_the_folder_is_refused(copy: Path, tmp_path: Path, name: str):
    outside = tmp_path / "outside"
    shutil.move(copy / name, outside)
    (copy / name).symlink_to(outside)
    with pytest.raises(ModelError, match=f"received {name}, a link out of the folder"):
        load(copy)


def test_a_linked_subfolder_is_refused(copy: Path, tmp_path: Path):
    shutil.move(copy / "unet", tmp_path / "elsewhere")
    (copy / "unet").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="a link out of the folder"):
        read(copy)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (NETWORK, {"_class_name": "UNet3DConditionModel"}, "received a UNet3DConditionModel; expected one of UNet2DModel, "),
        (NETWORK, {"class_embed_type": "timestep"}, "class_embed_type 'timestep'"),
        (NETWORK, {"out_channels": 3}, "received 1 channels in, 3 out"),
        (NETWORK, {"sample_size": None}, "a network of size None; expected a height and a width in pixels"),
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
        read(copy)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_a_damaged_configuration_is_refused(copy: Path, text: str):
    (copy / NETWORK).write_text(text)
    with pytest.raises(ModelError, match=NETWORK):
        read(copy)


def test_damaged_weights_are_refused(copy: Path):
    data = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="tensors that overlap, or do not fill the file; expected a whole safetensors file"):
        load(copy)


def test_weights_of_another_size_are_refused(copy: Path):
    edit(copy, NETWORK, block_out_channels=[32, 64])
    with pytest.raises(ModelError, match="weights that do not load"):
        load(copy)


@pytest.mark.parametrize(
    "changes",
    [
        {"unet": ["my_unet", "MyUNet"]},
        {"scheduler": ["scheduler.py", "MyScheduler"]},
        {"_class_name": ["pipeline", "MyPipeline"]},
    ],
)
def test_a_pipeline_with_code_of_its_own_is_refused(copy: Path, changes: dict[str, object]):
    (copy / "pipeline.py").write_text(f"open({str(copy / 'tripped')!r}, 'w')\n")
    edit(copy, INDEX, **changes)
    with pytest.raises(ModelError, match="code that comes with a pipeline is never run"):
        load(copy)
    assert not (copy / "tripped").exists()


def test_two_networks_are_refused(copy: Path):
    edit(copy, INDEX, transformer_2=["diffusers", "WanTransformer3DModel"])
    with pytest.raises(ModelError, match="a pipeline of two denoising networks"):
        read(copy)


def test_a_folder_without_an_index_is_read_by_its_subfolders(pipeline: Path, copy: Path):
    (copy / INDEX).unlink()
    torch.testing.assert_close(load(copy), load(pipeline))


def test_everything_may_lie_in_the_root(pipeline: Path, copy: Path):
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        shutil.move(copy / "unet" / name, copy / name)
    shutil.move(copy / SCHEDULER, copy / "scheduler_config.json")
    (copy / "unet").rmdir()
    (copy / "scheduler").rmdir()
    torch.testing.assert_close(load(copy), load(pipeline))


def resave(pipeline: Path, folder: Path, **options: object) -> None:
    """Save the network of a pipeline again, in another form."""
    net = UNet2DModel.from_pretrained(pipeline / "unet")
    (folder / WEIGHTS).unlink()
    net.save_pretrained(folder / "unet", **options)


def test_weights_in_several_files(pipeline: Path, copy: Path):
    resave(pipeline, copy, max_shard_size="500KB")
    assert not (copy / WEIGHTS).exists()
    torch.testing.assert_close(load(copy), load(pipeline))


@pytest.mark.parametrize("shards", [{}, {"max_shard_size": "500KB"}])
@pytest.mark.parametrize("keys", [{}, {"variant": "fp16"}])
def test_a_variant_is_found_and_can_be_named(pipeline: Path, copy: Path, shards: dict[str, str], keys: dict[str, str]):
    resave(pipeline, copy, variant="fp16", **shards)
    torch.testing.assert_close(load(copy, **keys), load(pipeline))


def test_of_several_variants_one_must_be_named(pipeline: Path, copy: Path):
    resave(pipeline, copy, variant="fp16")
    net = UNet2DModel.from_pretrained(pipeline / "unet")
    net.save_pretrained(copy / "unet", variant="ema")
    with pytest.raises(
        ModelError, match=r"received diffusion_pytorch_model\.ema.safetensors, .*fp16.*; fix: name the files with `variant`"
    ):
        load(copy)
    torch.testing.assert_close(load(copy, variant="ema"), load(pipeline))


@pytest.mark.parametrize(
    ("edit_map", "message"),
    [
        (lambda names: names | {"conv_in.bias": "../outside.safetensors"}, r"the shard '\.\./outside.safetensors'"),
        (lambda names: names | {"conv_in.bias": "weights.bin"}, "the shard 'weights.bin'"),
        (lambda names: names | {"conv_in.bias": "gone.safetensors"}, "received no gone.safetensors"),
        (lambda _: {}, "without files"),
    ],
)
def test_an_index_names_files_of_the_folder(pipeline: Path, copy: Path, edit_map: object, message: str):
    resave(pipeline, copy, max_shard_size="500KB")
    index = copy / "unet/diffusion_pytorch_model.safetensors.index.json"
    body = json.loads(index.read_text())
    index.write_text(json.dumps(body | {"weight_map": edit_map(body["weight_map"])}))
    with pytest.raises(ModelError, match=message):
        load(copy)


def test_null_components_are_absent(copy: Path):
    edit(copy, INDEX, vae=[None, None], text_encoder=[None, None])
    (copy / "vae").mkdir()
    assert not read(copy).folder.has("vae")


def test_a_broken_weight_is_not_replaced_by_a_random_one(copy: Path):
    weights = load_file(copy / WEIGHTS)
    del weights["conv_in.bias"]
    save_file(weights, copy / WEIGHTS)
    with pytest.raises(ModelError, match="weights that do not load"):
        load(copy)
