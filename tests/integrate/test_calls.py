"""What a pipeline computes from a call follows the schedule, in every copy of the pipeline; what cannot be served runs as it did."""

import copy
import pickle

import diffusers
import pytest
import torch

from ays_client import notices
from ays_client.call_steps import follow_schedulers
from ays_client.contract import Solver
from ays_client.durable import durable
from ays_client.errors import ScheduleRefused
from ays_client.pipelines import apply_schedule, restore
from ays_client.schedulers import scheduled, with_schedule
from tests.integrate import tiny
from tests.integrate.fitted import random_weights
from tests.integrate.problems import LATENT, LEVELS, schedule

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(autouse=True)
def fresh_warnings():
    notices.warn_once.cache_clear()


@pytest.mark.parametrize("scheduled_ones", ["base", "refiner", "both"])
@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "DDIMScheduler"])
def test_a_refiner_starts_where_its_base_ends(name, scheduled_ones):
    base = tiny.stable_diffusion_xl()
    parts = base.pipe.components | {"scheduler": getattr(diffusers, name)(**LATENT)}
    base.pipe.scheduler = getattr(diffusers, name)(**LATENT)
    refiner = diffusers.StableDiffusionXLImg2ImgPipeline(**parts, add_watermarker=False)
    refiner.set_progress_bar_config(disable=True)
    # Each has a schedule of its own model.
    if scheduled_ones != "refiner":
        apply_schedule(base.pipe, schedule(), strict=True)
    if scheduled_ones != "base":
        apply_schedule(refiner, schedule(levels=[level * 0.9 for level in LEVELS]), strict=True)
    (latents,) = base(denoising_end=0.8)
    ended = float(base.pipe.scheduler.sigmas[len(base.calls)]) if name != "DDIMScheduler" or scheduled_ones != "refiner" else None
    base.calls.clear()
    refiner(**base.call, image=latents, denoising_start=0.8)
    own = getattr(diffusers, name)(**LATENT)
    own.set_timesteps(50)
    start = float(own.timesteps[own.timesteps < 200][0])
    assert float(base.calls[0][1]) == pytest.approx(start, abs=1e-3)
    if ended is not None and scheduled_ones != "base":
        assert float(refiner.scheduler.sigmas[0]) == pytest.approx(ended, rel=1e-5)


def copies(pipe):
    kind = type(pipe)
    return {
        "itself": pipe,
        "deepcopy": copy.deepcopy(pipe),
        "pickle": pickle.loads(pickle.dumps(pipe)),
        "from_pipe": diffusers.StableDiffusion3Pipeline.from_pipe(pipe),
        "components": diffusers.StableDiffusion3Pipeline(**pipe.components),
        "class": kind(**pipe.components),
    }


def test_every_copy_of_a_pipeline_counts_in_the_schedules_steps():
    torch.manual_seed(0)
    one = tiny.stable_diffusion_3()
    apply_schedule(one.pipe, schedule(kind="flow", solver=Solver.EULER), strict=True)
    for name, pipe in copies(one.pipe).items():
        bars, skipping = [], []
        own = pipe.progress_bar
        pipe.progress_bar = lambda iterable=None, total=None, own=own, bars=bars: (bars.append(total), own(iterable, total))[1]
        pipe.set_progress_bar_config(disable=True)
        hook = pipe.transformer.register_forward_pre_hook(
            lambda _module, _args, kwargs, skipping=skipping: skipping.append("skip_layers" in kwargs), with_kwargs=True
        )
        guided = {"guidance_scale": 4.0, "skip_guidance_layers": [0], "negative_prompt_embeds": one.call["prompt_embeds"]}
        guided |= {"negative_pooled_prompt_embeds": one.call["pooled_prompt_embeds"]}
        pipe(**one.call | guided)
        hook.remove()
        # As stock does at 8 steps: of the steps after .01 and before .2 of them.
        assert (bars, skipping.count(False), skipping.count(True)) == ([8], 8, 1), name


def test_a_pipeline_without_a_schedule_is_of_its_own_class_again():
    one = tiny.stable_diffusion()
    apply_schedule(one.pipe, schedule())
    assert isinstance(one.pipe, diffusers.StableDiffusionPipeline)
    assert type(one.pipe).__name__ == "StableDiffusionPipeline"
    restore(one.pipe)
    assert type(one.pipe) is diffusers.StableDiffusionPipeline
    with_one = with_schedule(one.pipe.scheduler, schedule())
    one.pipe.scheduler = with_one
    assert type(one.pipe) is not diffusers.StableDiffusionPipeline


def test_a_pickle_is_followed_where_nothing_has_been_applied(monkeypatch):
    """As in a pool of workers: the first that a process sees of a schedule is a pipeline that carries one."""
    pipe = tiny.stable_diffusion().pipe
    apply_schedule(pipe, schedule(), strict=True)
    pickled = pickle.dumps(pipe)
    monkeypatch.setattr(diffusers.DiffusionPipeline, "__setattr__", diffusers.DiffusionPipeline.__setattr__.__wrapped__)
    follow_schedulers.cache_clear()
    durable.cache_clear()
    loaded = pickle.loads(pickled)
    assert scheduled(loaded.scheduler)
    assert type(restore(loaded)) is diffusers.StableDiffusionPipeline


def test_a_class_of_ones_own_that_extends_a_following_one():
    one = tiny.stable_diffusion()
    apply_schedule(one.pipe, schedule())

    class Own(type(one.pipe)):
        pass

    one.pipe = Own(**one.pipe.components | {"scheduler": diffusers.EulerDiscreteScheduler(**LATENT)}, requires_safety_checker=False)
    one.pipe.set_progress_bar_config(disable=True)
    one(num_inference_steps=3)
    assert len(one.calls) == 3


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler"])
def test_a_loop_of_ones_own_that_slices_timesteps_starts_at_the_same_level(name, begins):
    own = getattr(diffusers, name)(**LATENT)
    own.set_timesteps(20)
    made = with_schedule(getattr(diffusers, name)(**LATENT), schedule(solver=Solver.HEUN if "Heun" in name else Solver.DPMPP_2M))
    made.set_timesteps(20)
    index = 10 * own.order
    times = made.timesteps[index:]
    if begins:
        made.set_begin_index(index)
    image, noise = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    x = made.add_noise(image, noise, times[:1])
    own.set_begin_index(index)
    torch.testing.assert_close(x, own.add_noise(image, noise, own.timesteps[index : index + 1]))
    for time in times:
        x = made.step(made.scale_model_input(x, time), time, x).prev_sample
    assert torch.isfinite(x).all()
    assert float(times[0]) == pytest.approx(float(own.timesteps[index]))
    assert type(times) is torch.Tensor


def test_a_look_at_some_timesteps_is_no_start():
    made = with_schedule(diffusers.EulerDiscreteScheduler(**LATENT), schedule(solver=Solver.EULER))
    made.set_timesteps(20)
    made.timesteps[5:]
    made.scale_model_input(torch.zeros(1, 4, 8, 8), made.timesteps[0])
    assert len(made.timesteps) == 8


def test_swapping_keeps_the_names_of_the_stock_schedulers_methods():
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    for scheduler, solver in (
        (diffusers.FlowMatchEulerDiscreteScheduler(), Solver.DPMPP_2M),
        (diffusers.UniPCMultistepScheduler(**flow), Solver.EULER),
    ):
        made = with_schedule(scheduler, schedule(kind="flow", solver=solver), swap=True)
        made.set_begin_index(0)
        image, noise = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
        t = LEVELS[0] / (1 + LEVELS[0])
        for noisy in (made.add_noise(image, noise, made.timesteps[:1]), made.scale_noise(image, made.timesteps[:1], noise)):
            torch.testing.assert_close(noisy, (1 - t) * image + t * noise)


def test_a_call_that_cannot_be_served_runs_as_it_did_with_one_warning(caplog):
    base = tiny.stable_diffusion()
    pipe = diffusers.StableDiffusionImg2ImgPipeline(**base.pipe.components, requires_safety_checker=False)
    one = tiny.Tiny(pipe, base.call | {"image": torch.randn(base.shape), "strength": 0.3, "num_inference_steps": 10}, "unet", base.shape)
    expected = one(generator=torch.Generator().manual_seed(3))[0]
    high = schedule(levels=(13.9, 6.1, 3.3), terminal="sigma_min", sigmas=[13.9, 6.1, 3.3, 2.0])
    apply_schedule(pipe, high)
    caplog.clear()
    for _ in range(2):
        assert torch.equal(one(generator=torch.Generator().manual_seed(3))[0], expected)
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "ays_client"]
    assert "the pipeline's own schedule runs a call that the applied one cannot serve: it ends at the level 2" in warning
    assert scheduled(pipe.scheduler)
    apply_schedule(pipe, high, strict=True)
    with pytest.raises(ScheduleRefused, match="this call cannot be served: it ends at the level 2"):
        one()


@pytest.mark.parametrize("channels", [3, 4])
def test_learned_variances_are_left_out(channels):
    """DDPM with learned variances becomes DPM-Solver++, which takes three channels of whatever it gets."""
    made = with_schedule(diffusers.DDPMScheduler(**LATENT, variance_type="learned_range"), schedule())
    plain = with_schedule(diffusers.DDPMScheduler(**LATENT), schedule())
    x, output = torch.randn(1, channels, 4, 4), torch.randn(1, 2 * channels, 4, 4)
    found = made.step(output, made.timesteps[0], x).prev_sample
    torch.testing.assert_close(found, plain.step(output[:, :channels], plain.timesteps[0], x).prev_sample)


DISTILLED = {
    "name": (lambda pipe: pipe.register_to_config(_name_or_path="ByteDance/SDXL-Lightning"), "its name 'ByteDance/SDXL-Lightning' says so"),
    "network": (lambda pipe: pipe.unet.register_to_config(_name_or_path="/models/sd-turbo/unet"), "its name 'sd-turbo/unet' says so"),
    "adapter": (lambda pipe: setattr(pipe.unet, "peft_config", {"lcm-lora": None}), "its name 'lcm-lora' says so"),
    "guidance": (lambda pipe: pipe.unet.register_to_config(time_cond_proj_dim=256), "its unet takes the guidance scale as an input"),
    "scheduler": (lambda pipe: setattr(pipe, "scheduler", diffusers.LCMScheduler(**LATENT)), "its scheduler is LCMScheduler"),
}


@pytest.mark.parametrize("mark", DISTILLED)
def test_levels_of_a_base_model_are_refused_where_the_pipeline_is_distilled(mark, caplog):
    change, message = DISTILLED[mark]
    pipe = tiny.stable_diffusion().pipe
    change(pipe)
    published = schedule(source="published", validated=False)
    with pytest.raises(ScheduleRefused, match=message):
        apply_schedule(pipe, published, strict=True)
    own = pipe.scheduler
    apply_schedule(pipe, published)
    assert pipe.scheduler is own
    assert message in caplog.text


@pytest.mark.parametrize("name", ["stabilityai/stable-diffusion-xl-base-1.0", "/home/turbo/models/my-model", "hyperion/dmdx"])
def test_other_names_say_nothing(name):
    pipe = tiny.stable_diffusion().pipe
    pipe.register_to_config(_name_or_path=name)
    assert scheduled(apply_schedule(pipe, schedule(source="published", validated=False), strict=True).scheduler)


def test_a_fitted_schedule_runs_at_its_own_guidance_alone(caplog):
    torch.manual_seed(0)
    one = tiny.stable_diffusion_xl()
    guided = {"negative_prompt_embeds": torch.randn(2, 5, 16), "negative_pooled_prompt_embeds": torch.randn(2, 16)}
    fitted = schedule(solver=Solver.FITTED, guidance_scale=3.0, weights=random_weights(8))
    values = with_schedule(one.pipe.scheduler, fitted).schedule_values
    assert values["guidance_scale"] == 3.0
    assert with_schedule(one.pipe.scheduler, schedule(guidance_scale=3.0)).schedule_values["guidance_scale"] is None
    apply_schedule(one.pipe, fitted)
    one(**guided | {"guidance_scale": 3}, num_inference_steps=5)
    assert len(one.calls) == 8
    caplog.clear()
    for _ in range(2):
        one(**guided, guidance_scale=4.0, num_inference_steps=5)
        assert len(one.calls) == 5
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "ays_client"]
    assert "the fitted schedule was made for guidance_scale=3, and the call has 4" in warning
    apply_schedule(one.pipe, fitted, strict=True)
    with pytest.raises(ScheduleRefused, match=r"fix: ask for a schedule of guidance_scale=4"):
        one(**guided, guidance_scale=4.0)
