"""Every family: D is the clean sample that diffusers' own pipeline and scheduler predict, and a schedule comes out at the end."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ays_client.contract import JobRequest
from tests.models.cases import Case, assert_same, build, load, watch
from tests.models.families import FAMILIES, PROMPTS, random
from tests.worker.tasks.pipelines import Memory
from worker.ays.denoise import Evaluator
from worker.ays.paths import Stream
from worker.ays.profile.profile import MEAN_PATHS
from worker.ays.search.reference import solve_reference
from worker.ays.search.weight import default_weight
from worker.ays.solvers import SOLVERS, sample
from worker.tasks.measure import measure
from worker.tasks.table import Optimizer

SCALE = 3.0

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of diffusers' own pipelines


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Build, save and load a family once."""
    tiny, folder = FAMILIES[request.param], tmp_path_factory.mktemp(request.param)
    pipe = build(tiny)
    pipe.save_pretrained(folder / "pipeline")
    return Case(tiny, pipe, load(folder, tiny, conditions=tiny.conditions(pipe)))


def test_it_denoises_as_diffusers_does(case: Case, monkeypatch: pytest.MonkeyPatch):
    tiny = case.tiny
    arguments: dict[str, object] = dict(tiny.call)
    for name, tensor in tiny.conditions(case.pipe).items() if tiny.text else ():
        arguments[name] = tensor.expand(PROMPTS, *tensor.shape[1:])
    if case.model.denoiser.adapter.classes:
        arguments["class_labels"] = [0, 15, 31]
    elif tiny.guidance:
        arguments["output_type"] = "latent"
    if tiny.guidance:
        arguments[tiny.guidance] = SCALE
    assert case.model.denoiser.shape == tiny.shape
    guided = replace(case, model=case.model.at_guidance(SCALE if tiny.guidance else None))
    assert_same(guided, watch(case.pipe, arguments, monkeypatch))


def test_a_schedule_comes_out(case: Case):
    request = JobRequest(model="x", nfe=4, grid=16, paths=2, effort="fast")
    denoise = Evaluator(case.model.denoiser, batch=64)
    measured = measure(request.variant, case.model, denoise, Memory())
    assert denoise.evaluations == 2 * 2 * 16 + MEAN_PATHS
    assert np.isfinite(measured.flow.moments).all()
    json.loads(measured.info.model_dump_json(), parse_constant=pytest.fail)
    solver = SOLVERS["dpmpp_2m"]
    levels = Optimizer(measured.flow, solver, "zero", default_weight(measured.flow, solver), steps_max=4).levels(4)
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
    drawn = {"levels": levels, "terminal": "zero", "seed": 0, "stream": Stream.VALIDATION}
    both = solve_reference(SOLVERS["ddim"], Evaluator(model.denoiser, batch=1), model.denoiser.shape, indices=range(2), **drawn)
    second = solve_reference(SOLVERS["ddim"], Evaluator(model.denoiser, batch=4), model.denoiser.shape, indices=[1], **drawn)
    torch.testing.assert_close(both.reference[1:], second.reference, rtol=1e-4, atol=1e-4)
