"""Conditions, guidance, data and precision of a diffusers entry: what is accepted, what it does, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from ays_client.contract import JobRequest, identity
from tests.models.cases import build, load, save
from tests.models.families import FAMILIES, PROMPTS, random
from tests.worker.tasks.pipelines import Memory
from worker.ays.denoise import Evaluator
from worker.ays.paths import Stream
from worker.models.errors import ModelError
from worker.models.loaded import LoadedModel
from worker.models.registry import Registry
from worker.tasks.measure import Measured, clean_samples, measure, shard_paths
from worker.tasks.pipeline import optimize

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of diffusers' own pipelines


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion with cached embeddings, DiT and an unconditional network."""
    made = save(tmp_path_factory.mktemp("made"), "sd", "dit", "unet2d")
    save_file(dict(FAMILIES["sd"].conditions(None)), made / "sd/embeddings.safetensors")
    return made


EMBEDDED = 'embeddings = "embeddings.safetensors"'


def sd(folder: Path, *keys: str) -> LoadedModel:
    return load(folder / "sd", FAMILIES["sd"], EMBEDDED, *keys)


def answer(model: LoadedModel, index: int = 0) -> Tensor:
    x = random(1, *model.denoiser.shape)
    return model.denoiser.denoise(x, torch.tensor([1.0]), *([torch.tensor([index])] if model.denoiser.conditions else []))


def test_guidance_is_a_line_through_both_sides(folder: Path):
    model = sd(folder)
    assert model.guidance_scale == 7.5
    against, plain, guided = (answer(model.at_guidance(scale)) for scale in (0.0, 1.0, 3.0))
    torch.testing.assert_close(guided, against + 3 * (plain - against), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(answer(model), answer(model.at_guidance(7.5)))


REQUEST = JobRequest(model="x", nfe=3, grid=16, paths=2, effort="fast")


def measured(request: JobRequest, model: LoadedModel, host: Memory | None = None) -> tuple[Measured, Evaluator]:
    denoise = Evaluator(model.denoiser, batch=64)
    return measure(request.variant, model, denoise, host or Memory()), denoise


def test_a_request_may_ask_for_another_guidance_scale(folder: Path):
    model, asked = sd(folder), REQUEST.model_copy(update={"guidance_scale": 2.0})
    own, other = measured(REQUEST, model)[0], measured(asked, model.at_guidance(2.0))[0]
    assert (own.info.id, own.info.moments) != (other.info.id, other.info.moments)
    assert optimize(asked, model, Memory(stored=other.info)).requested.guidance_scale == 2.0
    assert optimize(REQUEST, model, Memory(stored=own.info)).requested.guidance_scale == 7.5
    with pytest.raises(ModelError, match="expected none: it has no guidance"):
        optimize(asked, load(folder / "unet2d", FAMILIES["unet2d"]), Memory())


def test_a_profile_of_the_same_weights_under_another_name_is_taken_over(folder: Path):
    model, request = load(folder / "unet2d", FAMILIES["unet2d"]), REQUEST.model_copy(update={"model": "copy"})
    first, _ = measured(REQUEST, model)
    second, denoise = measured(request, replace(model, id="copy"), Memory(stored=first.info))
    assert denoise.evaluations == 0
    assert second.new, "so that it is stored, with a whole table, under this name"
    assert (second.info.id, second.info.variant) == (identity(request.variant), request.variant)
    assert (second.flow.moments == first.flow.moments).all()
    other = measured(request, replace(model, id="copy", fingerprint="other"), Memory(stored=first.info))[1]
    assert other.evaluations > 0


def test_without_an_unconditional_side_there_is_no_guidance(folder: Path):
    tensors = {name: tensor for name, tensor in load_file(folder / "sd/embeddings.safetensors").items() if "negative" not in name}
    save_file(tensors, folder / "sd/positive.safetensors")
    positive = 'embeddings = "positive.safetensors"'
    model = load(folder / "sd", FAMILIES["sd"], positive)
    assert model.guidance_scale == 1.0
    torch.testing.assert_close(answer(model), answer(sd(folder).at_guidance(1.0)))
    with pytest.raises(ModelError, match="received guidance_scale = 3; expected negative_prompt_embeds among the embeddings"):
        load(folder / "sd", FAMILIES["sd"], positive, "guidance_scale = 3")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: {"wrong": random(3, 5, 16)}, "received tensors wrong; expected prompt_embeds, and for guidance"),
        (lambda found: {**found, "extra": random(3)}, "received tensors extra, negative_prompt_embeds, prompt_embeds"),
        (lambda found: {**found, "negative_prompt_embeds": random(2, 5, 16)}, "expected 1 or 3 finite rows"),
        (lambda found: {**found, "prompt_embeds": found["prompt_embeds"] * float("nan")}, "expected 3 finite rows"),
    ],
)
def test_wrong_embeddings_are_refused(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str):
    save_file(change(load_file(folder / "sd/embeddings.safetensors")), folder / "sd/changed.safetensors")
    with pytest.raises(ModelError, match=message):
        load(folder / "sd", FAMILIES["sd"], 'embeddings = "changed.safetensors"')


def test_classes_come_from_a_file_or_are_spread_over_all(folder: Path):
    dit, tiny = folder / "dit", FAMILIES["dit"]
    (dit / "labels.txt").write_text("# two\n7\n999\n")
    spread, two = load(dit, tiny), load(dit, tiny, 'classes = "labels.txt"')
    assert spread.denoiser.given.given["class_labels"].tolist()[:3] == [0, 15, 31]
    assert (spread.denoiser.conditions, two.denoiser.conditions) == (64, 2)
    assert two.denoiser.given.given["class_labels"].tolist() == [7, 999]
    assert spread.fingerprint != two.fingerprint
    for text, message in (("1000\n", "expected classes from 0 to 999"), ("cat\n", "received the line 'cat'"), ("\n", "without a line")):
        (dit / "labels.txt").write_text(text)
        with pytest.raises(ModelError, match=message):
            load(dit, tiny, 'classes = "labels.txt"')


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        ("unet2d", 'prompts = "x.txt"', "received prompts; expected only conditions that the network has"),
        ("unet2d", "guidance_scale = 2", "received guidance_scale; expected only"),
        ("dit", 'embeddings = "x.safetensors"', "received embeddings; expected only"),
        ("sd", 'classes = "x.txt"', "received classes; expected only"),
        ("sd", 'prompts = "gone.txt"\nembeddings = "x"', "received prompts and embeddings; expected one of"),
        ("sd", f'{EMBEDDED}\nnegative_prompt = "x"', "received negative_prompt and embeddings"),
        ("sd", f"{EMBEDDED}\nheight = 15", "expected a height and a width in pixels, positive multiples of 2"),
        ("sd", f"{EMBEDDED}\nframes = 5", "received frames = 5; expected none: it makes images"),
        ("sd", f"{EMBEDDED}\nheight = 0", "received height = 0; expected a positive whole number"),
        ("sd", f'{EMBEDDED}\nprecision = "int8"', 'expected "float32" or "bfloat16" or "float16"'),
        ("sd", f"{EMBEDDED}\nguidance_scale = true", "expected a number from 0 to 100"),
        ("sd", f"{EMBEDDED}\ncompile = 1", "expected true or false"),
        ("sd", f'{EMBEDDED}\nrevision = "main"', "received revision beside path"),
        ("sd", f'{EMBEDDED}\nhub = "a/b"', "received path and hub; expected one of"),
        ("sd", f'{EMBEDDED}\nvariant = "../x"', "received variant = '../x'"),
    ],
)
def test_keys_that_do_not_fit_are_refused(folder: Path, name: str, key: str, message: str):
    with pytest.raises(ModelError, match=message):
        load(folder / name, FAMILIES[name], key)


@pytest.mark.parametrize("revision", ["main", "v1.0", "0123abc", "0" * 39])
def test_a_revision_is_a_full_commit(revision: str, models_file: Callable[[str], Path]):
    text = f'[models.x]\nkind = "diffusers"\nhub = "owner/name"\nrevision = "{revision}"\n'
    with pytest.raises(ModelError, match="expected the commit, 40 hex digits: a branch or tag can move"):
        Registry(models_file(text))


def test_the_size_of_images_is_part_of_the_model(folder: Path):
    wide = sd(folder, "height = 16", "width = 32")
    assert wide.denoiser.shape == (4, 8, 16)
    assert wide.fingerprint != sd(folder).fingerprint


def test_latents_are_data_and_belong_to_their_conditions_where_there_are_as_many(folder: Path):
    save_file({"latents": random(PROMPTS, 4, 8, 8)}, folder / "sd/latents.safetensors")
    model = sd(folder, 'latents = "latents.safetensors"')
    received = clean_samples(model, range(2, 6), seed=0, stream=Stream.PROFILE)
    torch.testing.assert_close(received, random(PROMPTS, 4, 8, 8)[[2, 0, 1, 2]])
    assert model.fingerprint != sd(folder).fingerprint
    save_file({"latents": random(PROMPTS + 1, 4, 8, 8)}, folder / "sd/latents.safetensors")
    assert sd(folder, 'latents = "latents.safetensors"').paired is None
    save_file({"latents": random(PROMPTS, 4, 8, 4)}, folder / "sd/latents.safetensors")
    with pytest.raises(ModelError, match=r"expected `latents` of shape \(n, 4, 8, 8\), finite"):
        sd(folder, 'latents = "latents.safetensors"')


def picture(path: Path, value: int, size: tuple[int, int] = (20, 30)) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, dtype=np.uint8)).save(path)


def test_images_go_through_the_autoencoder(folder: Path):
    images, tiny = folder / "sd/images", FAMILIES["sd"]
    for i, value in enumerate((0, 128, 255)):
        picture(images / f"{i}.png", value)
    model = sd(folder, 'images = "images"')
    received = clean_samples(model, range(3), seed=0, stream=Stream.PROFILE)
    vae = build(tiny).vae
    pixels = torch.stack([torch.full((3, 16, 16), value / 127.5 - 1) for value in (0, 128, 255)])
    with torch.inference_mode():
        posterior = vae.encode(pixels).latent_dist
    # A draw from the posterior, times the scaling factor.
    deviation = (received / vae.config.scaling_factor - posterior.mean) / posterior.std
    assert deviation.std() == pytest.approx(1, abs=0.1)
    assert deviation.abs().max() < 5
    picture(images / "0.png", 10)
    assert sd(folder, 'images = "images"').fingerprint != model.fingerprint
    (images / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ModelError, match=r"received broken\.png"):
        sd(folder, 'images = "images"')
    with pytest.raises(ModelError, match="without images"):
        sd(folder, 'images = "gone"')


def test_images_are_pixels_where_there_is_no_autoencoder(folder: Path):
    picture(folder / "unet2d/images/a.png", 255, size=(9, 8))
    model = load(folder / "unet2d", FAMILIES["unet2d"], 'images = "images"')
    assert model.data is not None
    torch.testing.assert_close(model.data(2, torch.Generator()), torch.ones(2, 1, 8, 8))


@pytest.mark.parametrize(
    ("shape", "paths"), [((1, 8, 8), 16), ((4, 128, 128), 16), ((25, 4, 72, 128), 4), ((16, 21, 60, 104), 2), ((10**8,), 1)]
)
def test_a_shard_of_long_videos_has_fewer_paths(shape: tuple[int, ...], paths: int):
    assert shard_paths(shape, 64) == paths
