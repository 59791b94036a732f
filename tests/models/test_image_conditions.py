"""Images as conditions of videos: encoded once, as Stable Video Diffusion's own pipeline encodes them."""

import gc
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder
from PIL import Image, ImageOps
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from tests.models.cases import Case, assert_same, build, load, watch
from tests.models.families import FAMILIES
from worker.models.errors import ModelError
from worker.models.loaded import LoadedModel

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of diffusers' own pipelines

TINY = FAMILIES["svd"]
NOISY = ("fps = 12", "motion_bucket_id = 40", "noise_aug_strength = 0.3")
SIZES = {"a.png": (16, 16), "b.png": (40, 24)}


def picture(name: str) -> Image.Image:
    width, height = SIZES[name]
    generator = np.random.default_rng(len(name) + width)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, Path]:
    """A pipeline, and the folder that it and two images are saved to."""
    folder, pipe = tmp_path_factory.mktemp("svd"), build(TINY)
    pipe.save_pretrained(folder / "pipeline")
    (folder / "pictures").mkdir()
    for name in SIZES:
        picture(name).save(folder / "pictures" / name)
    return pipe, folder


def of(folder: Path, *keys: str) -> LoadedModel:
    return load(folder, TINY, 'condition_images = "pictures"', *keys)


@pytest.mark.parametrize("index", range(len(SIZES)))
@pytest.mark.parametrize("keys", [(), NOISY])
def test_images_and_motion_are_those_of_the_pipeline(
    saved: tuple[object, Path], index: int, keys: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    pipe, folder = saved
    model, seen = of(folder, *keys), []

    def spy(_: object, args: tuple[Tensor, ...], given: dict[str, Tensor]) -> None:
        seen.append((args, given))

    # The pipeline is given the image as it is cut: it would squeeze it into the size.
    cut = ImageOps.fit(picture(list(SIZES)[index]), (16, 16), Image.Resampling.BICUBIC)
    motion = {"fps": 12, "motion_bucket_id": 40, "noise_aug_strength": 0.3} if keys else {}
    arguments = {"image": cut, "height": 16, "width": 16, "output_type": "latent", "num_inference_steps": 1, **motion}
    handle = pipe.unet.register_forward_pre_hook(spy, with_kwargs=True)
    try:
        with torch.inference_mode():
            pipe(**arguments, generator=torch.Generator().manual_seed(index))
    finally:
        handle.remove()
    (x, _), given = seen[0]
    own = model.denoiser.given.rows(torch.tensor([index]))
    for received, expected in (
        (own["image_embeds"], given["encoder_hidden_states"][1:]),
        (own["image_latents"], x[1:, 0, 4:]),
    ):
        torch.testing.assert_close(received, expected, rtol=1e-5, atol=1e-5)
    if index == 0:
        del arguments["num_inference_steps"]
        first = Case(TINY, pipe, model)
        assert_same(first, watch(pipe, arguments, monkeypatch))


def test_the_encoders_are_let_go_of_and_one_image_is_enough(saved: tuple[object, Path]):
    folder, kinds = saved[1], (CLIPVisionModelWithProjection, AutoencoderKLTemporalDecoder)
    gc.collect()
    before = sum(isinstance(thing, kinds) for thing in gc.get_objects())
    model = load(folder, TINY, 'condition_images = "pictures/b.png"')
    assert model.denoiser.conditions == 1
    assert sum(isinstance(thing, kinds) for thing in gc.get_objects()) == before


def test_images_motion_and_encoders_are_part_of_the_identity(saved: tuple[object, Path], tmp_path: Path):
    shutil.copytree(saved[1], tmp_path, dirs_exist_ok=True)
    seen = {of(saved[1]).fingerprint}
    assert of(tmp_path).fingerprint in seen
    assert of(tmp_path, "fps = 7").fingerprint in seen, "the pipeline's own"
    seen |= {of(tmp_path, key).fingerprint for key in NOISY}
    picture("a.png").rotate(90).save(tmp_path / "pictures/a.png")
    seen.add(of(tmp_path).fingerprint)
    torch.manual_seed(5)
    build(TINY, unet=saved[0].unet, vae=saved[0].vae, image_encoder=TINY.make().image_encoder).save_pretrained(tmp_path / "pipeline")
    seen.add(of(tmp_path).fingerprint)
    assert len(seen) == 6


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ((), "received no condition_images; expected images that videos begin with"),
        (('condition_images = "gone"',), "gone without images; .* fix: correct `condition_images`"),
        (('condition_images = "pipeline"',), "pipeline without images"),
        (('condition_images = "pictures"', 'embeddings = "x.safetensors"'), "received embeddings and condition_images; expected one of"),
        (('condition_images = "pictures"', "fps = 0"), "received fps = 0; expected a positive whole number"),
        (('condition_images = "pictures"', "noise_aug_strength = -1"), "expected a number from 0 to 10"),
    ],
)
def test_what_does_not_fit_is_refused(saved: tuple[object, Path], keys: tuple[str, ...], message: str):
    with pytest.raises(ModelError, match=message):
        load(saved[1], TINY, *keys)


@pytest.mark.parametrize("key", ['condition_images = "pictures"', *NOISY])
def test_other_families_have_no_such_keys(tmp_path: Path, key: str):
    build(FAMILIES["unet2d"]).save_pretrained(tmp_path / "pipeline")
    with pytest.raises(ModelError, match=f"received {key.split()[0]}; expected only conditions that the network has"):
        load(tmp_path, FAMILIES["unet2d"], key)
