"""Files that come with a model: their size and path are checked before any of them is believed."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from worker.models.data import image_files
from worker.models.diffusers_entry import DiffusersEntry
from worker.models.diffusers_model import load_diffusers
from worker.models.errors import ModelError
from worker.models.hub import Hub
from worker.models.limits import LARGEST_HEADER, LARGEST_JSON
from worker.models.registry import Registry
from worker.models.safetensors_file import check_safetensors, read_tensors

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def load(path: Path, **limits: int) -> None:
    load_diffusers(DiffusersEntry(id="x", title="x", source=path), Hub(allowed=False), **limits)


def file(path: Path, header: bytes | dict[str, object], data: bytes = b"", *, length: int | None = None) -> Path:
    """A file as the format describes it, or one that lies about its length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def tensor(begin: object, end: object) -> dict[str, object]:
    return {"dtype": "U8", "shape": [1], "data_offsets": [begin, end]}


def test_a_whole_file_is_accepted(tmp_path: Path):
    save_file({"a": torch.zeros(3), "b": torch.zeros(0), "c": torch.ones(2, 2)}, tmp_path / "x", metadata={"format": "pt"})
    check_safetensors("x", "x", tmp_path / "x")
    check_safetensors("x", "x", file(tmp_path / "y", {"a": tensor(0, 2), "b": tensor(2, 3)}, b"abc"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b""), "a header of 0 bytes in a file of 0"),
        (lambda path: path.write_bytes(b"1234"), "in a file of 4"),
        (lambda path: file(path, b"{}", length=2**63), f"a header of {2**63:,} bytes in a file of 10"),
        (lambda path: file(path, b"{}", length=3), "a header of 3 bytes in a file of 10"),
        (lambda path: file(path, b"{]"), "Expecting"),
        (lambda path: file(path, b"[" * 100_000), "recursion|Expecting"),
        (lambda path: file(path, b"\x80\x80"), "codec"),
        (lambda path: file(path, b"[]"), "without the places of its tensors"),
        (lambda path: file(path, {"a": 3}), "without the places"),
        (lambda path: file(path, {"a": tensor(0, 1.5)}), "without the places"),
        (lambda path: file(path, {"a": tensor(0, True)}), "without the places"),
        (lambda path: file(path, {"a": tensor(0, 2)}, b"a"), "overlap, or do not fill"),
        (lambda path: file(path, {"a": tensor(0, 1)}, b"ab"), "overlap, or do not fill"),
        (lambda path: file(path, {"a": tensor(0, 2), "b": tensor(1, 3)}, b"abc"), "overlap, or do not fill"),
        (lambda path: file(path, {"a": tensor(-1, 3)}, b"abc"), "overlap, or do not fill"),
        (lambda path: file(path, {"a": tensor(0, 2**70)}, b"abc"), "overlap, or do not fill"),
        (lambda path: path.mkdir(), "no regular file"),
        (os.mkfifo, "no regular file"),
        (lambda path: None, "No such file"),  # noqa: ARG005
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(tmp_path: Path, make: Callable[[Path], object], message: str):
    make(tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match=rf"x\.safetensors: .*({message}).*; expected a whole safetensors file"):
        check_safetensors("model 'x'", "x.safetensors", tmp_path / "x.safetensors")


def test_a_header_larger_than_the_format_allows_is_not_read(tmp_path: Path):
    path = file(tmp_path / "x", b"{}", length=LARGEST_HEADER + 1)
    os.truncate(path, 2 * LARGEST_HEADER)  # sparse: takes no room on the disk
    with pytest.raises(ModelError, match="a header of 100,000,001 bytes"):
        check_safetensors("x", "x", path)


def test_weights_above_the_limit_are_refused_before_they_are_read(copy: Path):
    size = (copy / WEIGHTS).stat().st_size
    load(copy, limit=size)
    os.truncate(copy / WEIGHTS, 2**40)  # sparse: hashing it would take an hour
    fix = "set AYS_MODEL_MAX_BYTES"
    with pytest.raises(
        ModelError, match=rf"received 1,099,511,627,776 bytes of weights in unet; expected at most 137,438,953,472; fix: {fix}"
    ):
        load(copy)
    with pytest.raises(ModelError, match=f"expected at most {size - 1:,}"):
        load(copy, limit=size - 1)


def test_the_limit_counts_shards_together(pipeline: Path, copy: Path):
    from diffusers import UNet2DModel

    (copy / WEIGHTS).unlink()
    UNet2DModel.from_pretrained(pipeline / "unet").save_pretrained(copy / "unet", max_shard_size="500KB")
    sizes = [path.stat().st_size for path in (copy / "unet").glob("*.safetensors")]
    assert len(sizes) > 1
    with pytest.raises(ModelError, match=f"received {sum(sizes):,} bytes of weights in unet"):
        load(copy, limit=sum(sizes) - 1)


def test_the_limit_is_the_registry_s_and_counts_for_embeddings_too(copy: Path, tmp_path: Path):
    (tmp_path / "models.toml").write_text(f'[models.x]\nkind = "diffusers"\npath = "{copy.name}"\n')
    Registry(tmp_path / "models.toml").load("x")
    with pytest.raises(ModelError, match="expected at most 1,000;"):
        Registry(tmp_path / "models.toml", limit=1000).load("x")
    save_file({"a": torch.zeros(1000)}, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match=r"received 4,\d\d\d bytes of weights in x\.safetensors; expected at most 1,000;"):
        read_tensors("x", "embeddings", tmp_path / "x.safetensors", limit=1000)
    with pytest.raises(ModelError, match="fix: correct `embeddings`"):
        read_tensors("x", "embeddings", tmp_path / "gone", limit=1000)


@pytest.mark.parametrize("name", ["unet/config.json", "model_index.json", "scheduler/scheduler_config.json"])
def test_a_configuration_is_a_file_of_reasonable_size(copy: Path, name: str):
    os.truncate(copy / name, LARGEST_JSON + 1)
    with pytest.raises(ModelError, match="a file of at most 33,554,432 bytes is expected"):
        load(copy)
    (copy / name).unlink()
    os.mkfifo(copy / name)  # whoever opened it would wait for ever
    with pytest.raises(ModelError, match="a file of at most 33,554,432 bytes is expected"):
        load(copy)


@pytest.mark.parametrize("entry", [None, 3, [], [None], ["diffusers"], {"a": 1}])
def test_an_index_of_odd_values_has_no_such_component(copy: Path, entry: object):
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps(index | {"unet": entry}))
    with pytest.raises(ModelError, match="model 'x': received "):
        load(copy)


def test_a_link_out_of_a_folder_of_images_is_refused(tmp_path: Path):
    (tmp_path / "images").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "images/a.png")
    (tmp_path / "images/b.png").symlink_to("a.png")
    assert len(image_files("x", "images", tmp_path / "images")) == 2
    shutil.move(tmp_path / "images/a.png", tmp_path / "a.png")
    (tmp_path / "images/a.png").symlink_to("../a.png")
    with pytest.raises(ModelError, match=r"received a\.png, a link out of the folder"):
        image_files("x", "images", tmp_path / "images")


def test_a_network_that_asks_for_another_library_is_refused(copy: Path):
    config = json.loads((copy / "unet/config.json").read_text())
    quantized = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}
    (copy / "unet/config.json").write_text(json.dumps(config | quantized))
    with pytest.raises(ModelError, match="weights that do not load"):
        load(copy)
