"""A family's pipeline as its authors run it beside the model that we load from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import save_file
from torch import Tensor

from tests.models.families import FAMILIES, Tiny
from worker.models.loaded import LoadedModel
from worker.models.registry import Registry


@dataclass(frozen=True)
class Case:
    """A pipeline in memory, and the model of the folder it was saved to."""

    tiny: Tiny
    pipe: Any
    model: LoadedModel


def build(tiny: Tiny, **components: object) -> Any:
    """Make a pipeline, with some components replaced."""
    torch.manual_seed(0)
    pipe = tiny.make()
    pipe.register_modules(**components)
    pipe.set_progress_bar_config(disable=True)
    for module in pipe.components.values():
        if isinstance(module, torch.nn.Module):
            module.eval()
    return pipe


def save(folder: Path, *names: str) -> Path:
    """Put the tiny pipelines of some families into folders of their own; return the folder of these."""
    for name in names:
        (folder / name).mkdir()
        build(FAMILIES[name]).save_pretrained(folder / name / "pipeline")
    return folder


def write_entry(folder: Path, tiny: Tiny, *keys: str, conditions: Mapping[str, Tensor] | None = None) -> Path:
    """Write a models file with the model `x` in the folder `pipeline` beside it."""
    lines = ["[models.x]", 'kind = "diffusers"', 'path = "pipeline"', *(f"{key} = {value}" for key, value in tiny.options.items()), *keys]
    if conditions:
        save_file({name: tensor.contiguous() for name, tensor in conditions.items()}, folder / "conditions.safetensors")
        lines.append('embeddings = "conditions.safetensors"')
    path = folder / "models.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def load(folder: Path, tiny: Tiny, *keys: str, conditions: Mapping[str, Tensor] | None = None) -> LoadedModel:
    """Load the model of a folder."""
    return Registry(write_entry(folder, tiny, *keys, conditions=conditions)).load("x")


@dataclass(frozen=True)
class Step:
    """What a scheduler saw: the network's (guided) output, time, state and noise level."""

    output: Tensor
    time: Tensor
    x_t: Tensor
    sigma: float


def watch(pipe: Any, arguments: Mapping[str, object], monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """Run three steps of a pipeline and watch its scheduler."""
    seen: list[Step] = []
    scheduler = pipe.scheduler
    original = scheduler.step

    def step(output: Tensor, time: Tensor, x_t: Tensor, *args: object, **options: object) -> object:
        sigma = float(scheduler.sigmas[len(seen)]) if hasattr(scheduler, "sigmas") else float("nan")
        seen.append(Step(output.clone(), time, x_t.clone(), sigma))
        return original(output, time, x_t, *args, **options)

    monkeypatch.setattr(scheduler, "step", step)
    with torch.inference_mode():
        pipe(**arguments, num_inference_steps=3, generator=torch.Generator().manual_seed(0))
    assert len(seen) == 3
    return seen


def assert_same(case: Case, steps: list[Step]) -> None:
    """Assert that D is the clean sample that the scheduler predicts at each step."""
    denoiser, process = case.model.denoiser, case.model.process
    for step in steps:
        if process.kind == "flow" and step.sigma == 1:
            continue  # the first step, pure noise: sigma is infinite there, and our range ends below
        sigma = _level(case, step)
        x_t, expected = _unpacked(case, step.x_t).float(), _unpacked(case, _predicted(case, step)).float()
        x = x_t / float(process.scale(sigma))
        received = denoiser.denoise(x, torch.full((len(x),), sigma), *([torch.arange(len(x))] if denoiser.conditions else []))
        torch.testing.assert_close(received, expected, rtol=1e-5, atol=1e-5 * max(1.0, sigma))


def _predicted(case: Case, step: Step) -> Tensor:
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


def _level(case: Case, step: Step) -> float:
    """The noise level of a step, in VE coordinates."""
    match case.model.process.kind:
        case "vp":
            return float(case.model.process.sigma(float(step.time)))
        case "flow":
            return step.sigma / (1 - step.sigma)
        case _:
            return step.sigma


def _unpacked(case: Case, x: Tensor) -> Tensor:
    """Samples in the shape of the model's: as patches and tokens go back, and without the doubled half of guidance."""
    match type(case.pipe).__name__:
        case "FluxPipeline":
            return case.pipe._unpack_latents(x, 16, 16, case.pipe.vae_scale_factor)
        case "LTXPipeline":
            return case.pipe._unpack_latents(x, *case.tiny.shape[1:], 1, 1)
        case "DiTPipeline":
            return x[: len(x) // 2]
        case _:
            return x
