"""Whole pipelines with a fitted schedule: from what their networks predicted, they end where the naive loop ends."""

import math

import diffusers
import pytest
import torch

from ays_client.contract import Solver
from ays_client.fitted_scheduler import FittedScheduler
from ays_client.pipelines import apply_schedule, restore
from ays_client.stock import times_between
from tests.integrate import tiny
from tests.integrate.fitted import naive, random_weights
from tests.integrate.problems import EDM_STD, LATENT, LEVELS, schedule
from tests.models.families import FAMILIES, PROMPTS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def fitted(scheduler, kind, levels=LEVELS):
    """A fitted schedule of the model that a scheduler belongs to."""
    changes = {"prediction_type": scheduler.config.get("prediction_type") if kind != "flow" else None}
    if kind == "vp":
        signal = scheduler.alphas_cumprod.double()
        table = [(float(sigma), index) for index, sigma in enumerate(((1 - signal) / signal).sqrt()) if sigma > 0]
        changes["timesteps"] = times_between(table, levels)
    return schedule(kind=kind, solver=Solver.FITTED, levels=levels, weights=random_weights(len(levels)), **changes)


class Watched:
    """A pipeline with a schedule applied; what its scheduler is given in each step of a call, and what it gives."""

    def __init__(self, pipe, wanted):
        apply_schedule(pipe, wanted, strict=True)
        assert isinstance(pipe.scheduler, FittedScheduler)
        self.pipe, self.wanted, self.steps = pipe, wanted, []
        step, watched = pipe.scheduler.step, self

        def recording(output, time, x, *args, **kwargs):
            result = step(output, time, x, *args, **kwargs)
            after = result[0] if isinstance(result, tuple) else result.prev_sample
            watched.steps.append((output.clone(), float(time), x.clone(), after.clone()))
            return result

        pipe.scheduler.step = recording

    def __call__(self, **arguments):
        self.steps.clear()
        self.pipe.set_progress_bar_config(disable=True)
        with torch.no_grad():
            return self.pipe(**arguments)

    def check(self, levels=None, times=None, *, tolerance=1e-5):
        """Every state is the last one, every time is the schedule's or as given, and the end is that of the naive loop."""
        wanted = self.wanted
        flow, std = wanted.kind == "flow", self.pipe.scheduler.config.get("sigma_data", 1.0)
        levels, times = levels or wanted.sigmas, times or [1000 * time if flow else time for time in wanted.timesteps]
        assert [time for _, time, _, _ in self.steps] == pytest.approx(times, abs=1e-3)
        for (_, _, _, after), (_, _, before, _) in zip(self.steps, self.steps[1:], strict=False):
            assert torch.equal(after, before)
        outputs = iter(self.steps)

        def denoise(x, sigma):
            output = next(outputs)[0].double()
            output = output[:, : x.shape[1]]
            if flow:
                return x / (1 + sigma) - sigma / (1 + sigma) * output
            if wanted.kind == "edm":
                sign = 1 if wanted.prediction_type == "epsilon" else -1
                return std**2 / (sigma**2 + std**2) * x + sign * sigma * std / math.hypot(sigma, std) * output
            if wanted.prediction_type == "v_prediction":
                return x / (1 + sigma**2) - sigma / math.hypot(1, sigma) * output
            return x - sigma * output

        unscale = {"vp": math.hypot(1, levels[0]), "edm": 1.0, "flow": 1 + levels[0]}[wanted.kind]
        ended = naive(denoise, self.steps[0][2].double() * unscale, levels, wanted.weights)
        found = self.steps[-1][3].double()
        torch.testing.assert_close(found, ended, atol=tolerance * max(1.0, float(ended.abs().max())), rtol=0)


MADE = {
    "stable-diffusion": (tiny.stable_diffusion, "vp"),
    "stable-diffusion-xl": (tiny.stable_diffusion_xl, "vp"),
    "stable-diffusion-3": (tiny.stable_diffusion_3, "flow"),
    "flux": (tiny.flux, "flow"),
    "wan": (tiny.wan, "flow"),
    "dit": (tiny.dit, "vp"),
    "ddpm": (lambda: tiny.pixels("DDPMPipeline"), "vp"),
    "ddim": (lambda: tiny.pixels("DDIMPipeline"), "vp"),
    "edm": (lambda: tiny.edm(diffusers.EDMEulerScheduler), "edm"),
    "edm-multistep": (lambda: tiny.edm(diffusers.EDMDPMSolverMultistepScheduler), "edm"),
}


@pytest.mark.parametrize("name", MADE)
def test_a_pipeline_runs_the_naive_loop(name):
    make, kind = MADE[name]
    torch.manual_seed(0)
    one = make()
    watched = Watched(one.pipe, fitted(one.pipe.scheduler, kind))
    watched(**one.call)
    watched.check()
    assert kind != "edm" or watched.pipe.scheduler.config["sigma_data"] == EDM_STD


KINDS = {"sd": "vp", "sdxl": "vp", "pixart": "vp", "sana": "flow", "ltx": "flow", "svd": "edm"}


@pytest.mark.parametrize("name", KINDS)
def test_every_family_runs_the_naive_loop(name):
    family = FAMILIES[name]
    torch.manual_seed(0)
    pipe = family.make()
    conditions = {key: tensor.expand(PROMPTS, *tensor.shape[1:]) for key, tensor in family.conditions(pipe).items()} if family.text else {}
    watched = Watched(pipe, fitted(pipe.scheduler, KINDS[name], (6.0, 1.5, 0.4)))
    watched(**family.call, **conditions, **{family.guidance: 2.0}, output_type="latent")
    watched.check()


@pytest.mark.parametrize(("strength", "left"), [(0.5, 4), (1.0, 8), (0.13, 1)])
def test_the_strength_of_img2img(strength, left):
    """It starts at the stock schedule's level, and goes on by the schedule's."""
    torch.manual_seed(0)
    own = diffusers.EulerDiscreteScheduler(**LATENT)
    base = tiny.stable_diffusion(diffusers.EulerDiscreteScheduler(**LATENT))
    pipe = diffusers.StableDiffusionImg2ImgPipeline(**base.pipe.components, requires_safety_checker=False)
    watched, image = Watched(pipe, fitted(pipe.scheduler, "vp")), torch.randn(base.shape)
    watched(**base.call, image=image, strength=strength, num_inference_steps=8, generator=torch.Generator().manual_seed(3))
    own.set_timesteps(8)
    levels, times = list(watched.wanted.sigmas), list(watched.wanted.timesteps)
    if left < 8:
        levels = [float(own.sigmas[8 - left]), *[one for one in levels if one < own.sigmas[8 - left]]]
        times = [float(own.timesteps[8 - left]), *times[len(times) - len(levels) + 2 :]]
    watched.check(levels, times)
    noise, level = torch.randn(base.shape, generator=torch.Generator().manual_seed(3)), levels[0]
    torch.testing.assert_close(watched.steps[0][2], (image + level * noise) / math.hypot(1, level), atol=1e-5, rtol=0)


def test_inpainting_keeps_what_is_known():
    """The known part is drawn anew at the level of each step, so that it ends as it was."""
    torch.manual_seed(0)
    base = tiny.stable_diffusion()
    pipe = diffusers.StableDiffusionInpaintPipeline(**base.pipe.components, requires_safety_checker=False)
    watched, image = Watched(pipe, fitted(pipe.scheduler, "vp")), torch.randn(2, 3, 16, 16).clamp(-1, 1)
    mask = torch.zeros(2, 1, 16, 16)
    mask[..., 8:] = 1.0
    call = {"image": image, "mask_image": mask, "height": 16, "width": 16, "num_inference_steps": 8, "strength": 1.0}
    (found, *_) = watched(**base.call, **call, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        known = pipe.vae.config.scaling_factor * pipe.vae.encode(image).latent_dist.mode()
    assert len(watched.steps) == 8
    (_, _, before, _), (_, _, second, _) = watched.steps[:2]
    assert before.shape == found.shape == known.shape
    assert torch.isfinite(second).all()
    assert (found[..., :4] - known[..., :4]).abs().mean() < (found[..., 4:] - known[..., 4:]).abs().mean()


@pytest.mark.parametrize(("name", "argument"), [("sdxl", "guidance_scale"), ("svd", "max_guidance_scale")])
def test_another_guidance_runs_the_stock_schedule(name, argument):
    family = FAMILIES[name]
    torch.manual_seed(0)
    pipe = family.make()
    pipe.set_progress_bar_config(disable=True)
    wanted = fitted(pipe.scheduler, KINDS[name], (6.0, 1.5, 0.4)).model_copy(update={"guidance_scale": 2.0})
    conditions = {key: tensor.expand(PROMPTS, *tensor.shape[1:]) for key, tensor in family.conditions(pipe).items()} if family.text else {}
    call = family.call | conditions | {"output_type": "latent", "num_inference_steps": 2}
    for guidance, steps in ((2.0, 3), (4.0, 2)):
        calls = []
        hook = pipe.unet.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        apply_schedule(pipe, wanted)(**call, **{argument: guidance})
        hook.remove()
        assert len(calls) == steps


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["stable-diffusion", "stable-diffusion-3"])
def test_a_network_in_half_precision(name, dtype):
    """Its outputs are rounded, the sampler adds no error to that: the state returned is the exact one, rounded once."""
    make, kind = MADE[name]
    torch.manual_seed(0)
    one = make()
    one.pipe.to(dtype=dtype)
    call = {key: value.to(dtype) if isinstance(value, torch.Tensor) else value for key, value in one.call.items()}
    watched = Watched(one.pipe, fitted(one.pipe.scheduler, kind))
    watched(**call)
    assert watched.steps[-1][3].dtype is dtype
    watched.check(tolerance=2 * torch.finfo(dtype).eps)


def test_a_compiled_network_gives_the_same():
    torch.manual_seed(0)
    one = tiny.stable_diffusion_3()
    watched, noise = Watched(one.pipe, fitted(one.pipe.scheduler, "flow")), torch.randn(one.shape)
    (plain, *_) = watched(**one.call, latents=noise.clone())
    one.pipe.transformer = torch.compile(one.pipe.transformer, backend="eager")
    (compiled, *_) = watched(**one.call, latents=noise.clone())
    torch.testing.assert_close(compiled, plain, atol=1e-5, rtol=0)
    watched.check()


def test_a_saved_pipeline_samples_the_same(tmp_path):
    torch.manual_seed(0)
    one = tiny.pixels("DDPMPipeline")
    apply_schedule(one.pipe, fitted(one.pipe.scheduler, "vp"), strict=True)
    expected = one(generator=torch.Generator().manual_seed(5))[0]
    one.pipe.save_pretrained(tmp_path / "fitted")
    loaded = diffusers.DDPMPipeline.from_pretrained(tmp_path / "fitted")
    loaded.set_progress_bar_config(disable=True)
    assert (loaded(**one.call, generator=torch.Generator().manual_seed(5))[0] == expected).all()
    # With all that it carries: it also goes back to what it was.
    assert loaded.scheduler.schedule_values == one.pipe.scheduler.schedule_values
    assert type(restore(loaded).scheduler) is diffusers.DDPMScheduler
    restore(one.pipe).save_pretrained(tmp_path / "stock")
    assert type(diffusers.DDPMPipeline.from_pretrained(tmp_path / "stock").scheduler) is diffusers.DDPMScheduler
