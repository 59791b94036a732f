"""Whole pipelines with unchanged call sites: their networks see what our own sampler would show them, and end where it ends."""

import copy
import math

import diffusers
import numpy as np
import pytest
import torch

from ays_client import notices
from ays_client.contract import Solver
from ays_client.errors import ScheduleRefused
from ays_client.pipelines import applied, apply_schedule, restore
from tests.integrate import tiny
from tests.integrate.problems import EDM_STD, LATENT, schedule
from worker.ays.solvers import SOLVERS, sample

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

EXACT = 1e-5


@pytest.fixture(autouse=True)
def fresh_warnings():
    notices.warn_once.cache_clear()


def seeded(make, *arguments):
    torch.manual_seed(0)
    return make(*arguments)


def close(found, expected, scale=1.0):
    torch.testing.assert_close(found.double(), expected.double(), atol=EXACT * scale * float(expected.abs().max()), rtol=0)


def replay(one, wanted, x, *, levels=None):
    """Our sampler from `x = sigma_0 noise`, with what the network predicted; every input of the network must be what this needs."""
    levels = wanted.sigmas if levels is None else levels
    seen = iter(one.calls)
    times = list(wanted.timesteps[-(len(levels) - 1) :])
    scale = 1000.0 if wanted.kind == "flow" else 1.0

    def denoise(state, sigma):
        level = float(sigma[0])
        shown, time, predicted = next(seen)
        std = EDM_STD if wanted.kind == "edm" else 1.0
        shrink = 1 / (1 + level) if wanted.kind == "flow" else 1 / math.hypot(std, level)
        close(shown.reshape(state.shape), shrink * state)
        # Flux's network takes t itself.
        assert float(time) == pytest.approx(scale * times[0], abs=2e-4) or float(time) == pytest.approx(times[0], abs=2e-6)
        times.pop(0)
        output = predicted.double().reshape(state.shape)
        if wanted.kind == "edm":
            return (std * shrink) ** 2 * state + level * std * shrink * output
        return shrink * state - level / (1 + level) * output if wanted.kind == "flow" else state - level * output

    ended = sample(SOLVERS[wanted.solver.value], denoise, np.array(levels), x.double() / levels[0])
    assert next(seen, None) is None
    return ended


CASES = {
    "stable-diffusion": (tiny.stable_diffusion, "vp", Solver.DPMPP_2M, {}),
    "stable-diffusion-xl": (tiny.stable_diffusion_xl, "vp", Solver.EULER, {}),
    "stable-diffusion-xl-swapped": (tiny.stable_diffusion_xl, "vp", Solver.DPMPP_2M, {"swap": True}),
    "stable-diffusion-3": (tiny.stable_diffusion_3, "flow", Solver.EULER, {}),
    "flux": (tiny.flux, "flow", Solver.EULER, {}),
    "wan": (tiny.wan, "flow", Solver.UNIPC, {}),
    "wan-swapped": (tiny.wan, "flow", Solver.DPMPP_2M, {"swap": True}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_pipeline_runs_our_sampler(name):
    make, kind, solver, how = CASES[name]
    one, wanted = seeded(make), schedule(kind=kind, solver=solver)
    apply_schedule(one.pipe, wanted, strict=True, **how)
    noise = torch.randn(one.shape)
    (found, *_) = one(latents=noise.clone())
    assert len(one.calls) == wanted.nfe
    # Pipelines of flow models start from the noise itself, t = 1.
    start = noise * (1 + wanted.sigmas[0]) if kind == "flow" else noise * wanted.sigmas[0]
    ended = replay(one, wanted, start)
    close(found.reshape(ended.shape), ended, scale=4)


def test_flux_with_a_multistep_scheduler_does_not_fall_back_on_28_steps():
    flow = diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)
    one, wanted = seeded(tiny.flux, flow), schedule(kind="flow")
    apply_schedule(one.pipe, wanted, swap=True, strict=True)
    one(latents=torch.randn(one.shape), sigmas=[1.0, 0.7, 0.3])
    assert len(one.calls) == 8


@pytest.mark.parametrize("steps", [8, 15, 50])
@pytest.mark.parametrize("strength", [0.02, 0.13, 0.5, 0.9, 1.0])
def test_the_strength_of_img2img_is_the_noise_level_that_it_was(steps, strength):
    base = seeded(tiny.stable_diffusion)
    own, wanted = copy.deepcopy(base.pipe.scheduler), schedule()
    own.set_timesteps(steps)
    pipe = diffusers.StableDiffusionImg2ImgPipeline(**base.pipe.components, requires_safety_checker=False)
    one = tiny.Tiny(pipe, base.call | {"image": torch.randn(base.shape)}, "unet", base.shape)
    apply_schedule(pipe, wanted, strict=True)
    (found, _) = one(strength=strength, num_inference_steps=steps, generator=torch.Generator().manual_seed(3))
    start = int(own.timesteps[min(steps - int(steps * strength), len(own.timesteps) - 1)])
    signal = float(own.alphas_cumprod[start])
    level = math.sqrt((1 - signal) / signal)
    levels, times = [level, *[one for one in wanted.sigmas if one < level]], [start, *[one for one in wanted.timesteps if one < start]]
    if strength == 1.0:
        levels, times = wanted.sigmas, wanted.timesteps
    assert len(one.calls) == len(times)
    noise = torch.randn(base.shape, generator=torch.Generator().manual_seed(3))
    part = wanted.model_copy(update={"sigmas": levels, "timesteps": times})
    close(found, replay(one, part, one.call["image"] + levels[0] * noise), scale=4)


def test_the_strength_of_img2img_with_a_flow_model():
    base = seeded(tiny.stable_diffusion_3)
    own = copy.deepcopy(base.pipe.scheduler)
    own.set_timesteps(28)
    pipe = diffusers.StableDiffusion3Img2ImgPipeline(**base.pipe.components | {"vae": tiny.stable_diffusion().pipe.vae})
    call = base.call | {"image": torch.randn(base.shape)}
    one = tiny.Tiny(pipe, {**call, "height": 16, "width": 16}, "transformer", base.shape)
    wanted = schedule(kind="flow", solver=Solver.EULER)
    apply_schedule(pipe, wanted, strict=True)
    (found, *_) = one(strength=0.5, num_inference_steps=28, generator=torch.Generator().manual_seed(3))
    t = float(own.sigmas[14])
    levels = [t / (1 - t), *[one for one in wanted.sigmas if one < t / (1 - t)]]
    part = wanted.model_copy(update={"sigmas": levels, "timesteps": [level / (1 + level) for level in levels[:-1]]})
    assert len(one.calls) == len(levels) - 1
    noise = torch.randn(base.shape, generator=torch.Generator().manual_seed(3))
    close(found, replay(one, part, one.call["image"] + levels[0] * noise), scale=4)


@pytest.mark.parametrize("name", ["DDPMPipeline", "DDIMPipeline"])
def test_pipelines_of_pixels(name):
    one, wanted = seeded(tiny.pixels, name), schedule()
    apply_schedule(one.pipe, wanted, strict=True)
    (found,) = one(generator=torch.Generator().manual_seed(5))
    assert len(one.calls) == 8
    noise = torch.randn(one.shape, generator=torch.Generator().manual_seed(5))
    # These start from a state of variance 1, whatever the scheduler says.
    ended = replay(one, wanted, noise * math.hypot(1, wanted.sigmas[0]))
    close(torch.from_numpy(found).permute(0, 3, 1, 2), (ended / 2 + 0.5).clamp(0, 1))


@pytest.mark.parametrize(
    ("scheduler", "solver"),
    [(diffusers.EDMEulerScheduler, Solver.EULER), (diffusers.EDMDPMSolverMultistepScheduler, Solver.DPMPP_2M)],
)
def test_a_pipeline_of_ones_own(scheduler, solver):
    one, wanted = seeded(tiny.edm, scheduler), schedule(kind="edm", solver=solver)
    apply_schedule(one.pipe, wanted, strict=True)
    found = one(generator=torch.Generator().manual_seed(5)).images
    assert len(one.calls) == 8
    noise = torch.randn(one.shape, generator=torch.Generator().manual_seed(5))
    ended = replay(one, wanted, wanted.sigmas[0] * noise)
    close(torch.from_numpy(found).permute(0, 3, 1, 2), (ended / 2 + 0.5).clamp(0, 1))


def test_a_transformer_with_learned_variance():
    one, wanted, decoded = seeded(tiny.dit), schedule(), []
    one.pipe.vae.post_quant_conv.register_forward_pre_hook(lambda _module, args: decoded.append(args[0]))
    apply_schedule(one.pipe, wanted, strict=True)
    one(generator=torch.Generator().manual_seed(5))
    assert len(one.calls) == 8
    noise = torch.randn(one.shape, generator=torch.Generator().manual_seed(5))
    ended = replay(one, wanted, noise * math.hypot(1, wanted.sigmas[0]))
    close(decoded[0] * one.pipe.vae.config.scaling_factor, ended, scale=4)


def test_what_a_server_does_to_pipelines_keeps_the_schedule(tmp_path):
    one = seeded(tiny.stable_diffusion)
    apply_schedule(one.pipe, schedule(), strict=True)
    noise = torch.randn(one.shape)
    (expected, _) = one(latents=noise.clone())
    one.pipe.scheduler = type(one.pipe.scheduler).from_config(one.pipe.scheduler.config)
    torch.testing.assert_close(one(latents=noise.clone())[0], expected)
    one.pipe.scheduler = copy.deepcopy(one.pipe.scheduler)
    torch.testing.assert_close(one(latents=noise.clone())[0], expected)
    one.pipe.save_pretrained(tmp_path)
    loaded = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path, text_encoder=None, tokenizer=None, requires_safety_checker=False)
    assert type(loaded.scheduler) is diffusers.DPMSolverMultistepScheduler
    loaded.set_progress_bar_config(disable=True)
    loaded(**one.call, latents=noise.clone(), num_inference_steps=3)
    assert len(loaded.scheduler.timesteps) == 3


def test_restoring():
    one = seeded(tiny.stable_diffusion)
    noise = torch.randn(one.shape)
    (before, _) = one(latents=noise.clone(), num_inference_steps=5)
    assert apply_schedule(one.pipe, schedule()) is one.pipe
    apply_schedule(one.pipe, schedule(levels=(10.0, 2.0, 0.3)))
    assert restore(one.pipe) is one.pipe
    torch.testing.assert_close(one(latents=noise.clone(), num_inference_steps=5)[0], before)
    apply_schedule(one.pipe, schedule())
    apply_schedule(one.pipe, None)
    assert type(one.pipe.scheduler) is diffusers.PNDMScheduler


def test_a_block_of_code_with_a_schedule():
    one = seeded(tiny.stable_diffusion)
    own = one.pipe.scheduler
    with applied(one.pipe, schedule()) as pipe, applied(pipe, schedule(levels=(10.0, 2.0, 0.3))):
        one(latents=torch.randn(one.shape))
        assert len(one.calls) == 3
    assert one.pipe.scheduler is own
    with pytest.raises(KeyError), applied(one.pipe, schedule()):
        raise KeyError
    assert one.pipe.scheduler is own


def test_what_cannot_be_applied_leaves_the_pipeline_as_it_is_with_one_warning(caplog):
    one = seeded(tiny.stable_diffusion, diffusers.KDPM2DiscreteScheduler(**LATENT))
    own = one.pipe.scheduler
    for _ in range(3):
        apply_schedule(one.pipe, schedule())
    assert one.pipe.scheduler is own
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["the pipeline keeps its schedule"]
    assert "KDPM2DiscreteScheduler is refused" in caplog.text
    with pytest.raises(ScheduleRefused, match="KDPM2DiscreteScheduler"):
        apply_schedule(one.pipe, schedule(), strict=True)


def test_applying_the_same_again_is_nothing():
    one = seeded(tiny.stable_diffusion_xl)
    made = apply_schedule(one.pipe, schedule(solver=Solver.EULER)).scheduler
    assert apply_schedule(one.pipe, schedule(solver=Solver.EULER)).scheduler is made
    assert apply_schedule(one.pipe, schedule(id="b" * 32)).scheduler is not made


def test_another_solver_is_run_with_a_word(caplog):
    one = seeded(tiny.stable_diffusion_xl)
    apply_schedule(one.pipe, schedule())
    assert "made for dpmpp_2m, and EulerDiscreteScheduler runs euler; ask for solver=euler, or pass swap=True" in caplog.text
    assert type(one.pipe.scheduler).__name__ == "EulerDiscreteScheduler"
