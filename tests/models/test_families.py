"""Every family: D is the clean sample that diffusers' own pipeline and scheduler predict, and a schedule comes out at the end."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import save_file
from torch import Tensor

from ays_client.contract import JobRequest
from tests.models.families import FAMILIES, PROMPTS, Tiny, random
from tests.pipelines import Memory
from worker.ays.denoise import Evaluator
from worker.ays.paths import Stream
from worker.ays.solvers import SOLVERS, sample
from worker.ays.validate import hold_out
from worker.measure import measure
from worker.models.loaded import LoadedModel
from worker.models.registry import Registry
from worker.table import Optimizer, default_choice

SCALE = 3.0

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of diffusers' own pipelines


@dataclass(frozen=True)
class Case:
    """A family's pipeline as its authors run it, and as we load it."""

    tiny: Tiny
    pipe: Any
    model: LoadedModel

    @property
    def guided(self) -> bool:
        return self.model.guidance_scale is not None


def entry(tiny: Tiny, folder: Path, conditions: dict[str, Tensor]) -> str:
    lines = ['[models.x]\nkind = "diffusers"\npath = "pipeline"\n', *(f"{key} = {value}\n" for key, value in tiny.options.items())]
    if conditions:
        save_file({name: tensor.contiguous() for name, tensor in conditions.items()}, folder / "conditions.safetensors")
        lines.append('embeddings = "conditions.safetensors"\n')
    return "".join(lines)


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Build, save and load a family once."""
    tiny, folder = FAMILIES[request.param], tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    pipe = tiny.make()
    pipe.set_progress_bar_config(disable=True)
    for module in pipe.components.values():
        if isinstance(module, torch.nn.Module):
            module.eval()
    pipe.save_pretrained(folder / "pipeline")
    (folder / "models.toml").write_text(entry(tiny, folder, dict(tiny.conditions(pipe))))
    return Case(tiny, pipe, Registry(folder / "models.toml").load("x"))


@dataclass(frozen=True)
class Step:
    """What a scheduler saw: the network's (guided) output, time, state and noise level."""

    output: Tensor
    time: Tensor
    x_t: Tensor
    sigma: float


def run(case: Case, monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """Run the pipeline and watch its scheduler."""
    seen: list[Step] = []
    scheduler = case.pipe.scheduler
    original = scheduler.step

    def step(output: Tensor, time: Tensor, x_t: Tensor, *args: object, **options: object) -> object:
        sigma = float(scheduler.sigmas[len(seen)]) if hasattr(scheduler, "sigmas") else float("nan")
        seen.append(Step(output.clone(), time, x_t.clone(), sigma))
        return original(output, time, x_t, *args, **options)

    monkeypatch.setattr(scheduler, "step", step)
    arguments: dict[str, object] = dict(case.tiny.call) | {"num_inference_steps": 3, "generator": torch.Generator().manual_seed(0)}
    for name, tensor in case.tiny.conditions(case.pipe).items() if case.tiny.text else ():
        arguments[name] = tensor.expand(PROMPTS, *tensor.shape[1:])
    if "DiT" in type(case.pipe).__name__:
        arguments["class_labels"] = [0, 15, 31]
    if case.tiny.guidance:
        arguments[case.tiny.guidance] = SCALE
    arguments |= {} if "class_labels" in arguments or not case.tiny.guidance else {"output_type": "latent"}
    with torch.inference_mode():
        case.pipe(**arguments)
    assert len(seen) == 3
    return seen


def predicted(case: Case, step: Step) -> Tensor:
    """The scheduler's x_0, from the output that the pipeline gave it."""
    match case.model.process.kind:
        case "vp":
            ddim = DDIMScheduler.from_config(case.pipe.scheduler.config, clip_sample=False)
            ddim.set_timesteps(3)
            return ddim.step(step.output, step.time, step.x_t).pred_original_sample
        case "flow":
            return step.x_t - step.sigma * step.output
        case _:
            # EulerDiscreteScheduler's rule for v_prediction; the state it is given is not scaled.
            return step.output * (-step.sigma / (step.sigma**2 + 1) ** 0.5) + step.x_t / (step.sigma**2 + 1)


def level(case: Case, step: Step) -> float:
    """The noise level of a step, in VE coordinates."""
    match case.model.process.kind:
        case "vp":
            return float(case.model.process.sigma(float(step.time)))
        case "flow":
            return step.sigma / (1 - step.sigma)
        case _:
            return step.sigma


def unpacked(case: Case, x: Tensor) -> Tensor:
    """Samples in the shape of the model's: as patches and tokens go back, and without the doubled half of guidance."""
    match type(case.pipe).__name__:
        case "FluxPipeline":
            return case.pipe._unpack_latents(x, 16, 16, case.pipe.vae_scale_factor)
        case "LTXPipeline":
            return case.pipe._unpack_latents(x, *case.tiny.shape[1:], 1, 1)
        case "DiTPipeline":
            return x[:PROMPTS]
        case _:
            return x


def test_it_denoises_as_diffusers_does(case: Case, monkeypatch: pytest.MonkeyPatch):
    denoiser, process = (case.model.at_guidance(SCALE if case.guided else None)).denoiser, case.model.process
    assert denoiser.shape == case.tiny.shape
    for step in run(case, monkeypatch):
        if process.kind == "flow" and step.sigma == 1:
            continue  # the first step, pure noise: sigma is infinite there, and our range ends below
        sigma = level(case, step)
        x_t, expected = unpacked(case, step.x_t).float(), unpacked(case, predicted(case, step)).float()
        x = x_t / float(process.scale(sigma))
        received = denoiser.denoise(x, torch.full((len(x),), sigma), *([torch.arange(len(x))] if denoiser.conditions else []))
        torch.testing.assert_close(received, expected, rtol=1e-5, atol=1e-5 * max(1.0, sigma))


def test_a_schedule_comes_out(case: Case):
    request = JobRequest(model="x", nfe=4, grid=16, paths=2, effort="fast")
    denoise = Evaluator(case.model.denoiser, batch=64)
    measured = measure(request.variant, case.model, denoise, Memory())
    assert denoise.evaluations == 2 * 2 * 16
    assert np.isfinite(measured.flow.moments).all()
    json.loads(measured.info.model_dump_json(), parse_constant=pytest.fail)
    levels = Optimizer(measured.flow, SOLVERS["dpmpp_2m"], "zero", default_choice(SOLVERS["dpmpp_2m"]), steps_max=4).levels(4)
    assert levels[0] <= case.model.process.sigma_max
    assert (np.diff(levels) < 0).all()
    noise = random(2, *case.tiny.shape).double()
    assert torch.isfinite(sample(SOLVERS["dpmpp_2m"], denoise.along([0, 1]), levels, noise)).all()


def test_paths_have_their_own_conditions(case: Case):
    model = case.model
    if model.denoiser.conditions < 2:
        pytest.skip("one condition at most")
    x, sigma = random(1, *case.tiny.shape).expand(2, *case.tiny.shape), torch.full((2,), 2.0)
    apart = [model.denoiser.denoise(x[:1], sigma[:1], torch.tensor([i])) for i in (0, 1)]
    together = model.denoiser.denoise(x, sigma, torch.tensor([0, 1]))
    torch.testing.assert_close(together, torch.cat(apart), rtol=1e-4, atol=1e-5)
    assert (apart[0] - apart[1]).abs().max() > 1e-4
    levels = np.geomspace(5.0, 0.1, 4)
    drawn = {"levels": levels, "terminal": "zero", "seed": 0, "stream": Stream.JUDGE}
    both = hold_out(SOLVERS["ddim"], Evaluator(model.denoiser, batch=1), model.denoiser.shape, indices=range(2), **drawn)
    second = hold_out(SOLVERS["ddim"], Evaluator(model.denoiser, batch=4), model.denoiser.shape, indices=[1], **drawn)
    torch.testing.assert_close(both.reference[1:], second.reference, rtol=1e-4, atol=1e-4)
