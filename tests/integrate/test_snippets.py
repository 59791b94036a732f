"""The snippets that the page shows, executed as they are: their pipelines evaluate the levels of the schedule."""

import json
import subprocess
import sys
from types import ModuleType

import diffusers
import pytest
import torch
from playwright._impl._driver import compute_driver_executable

from ays_client.consumers import Format, takes
from ays_client.contract import Solver
from ays_client.formats import render
from tests.cli.commands import REPOSITORY
from tests.client.hostile import Hostile
from tests.integrate import tiny
from tests.integrate.problems import LATENT, schedule

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

PROGRAM = """
import { readFileSync } from "node:fs";
import { code } from "%s";
const { origin, texts, asked } = JSON.parse(readFileSync(0, "utf8"));
globalThis.location = { origin };
const text = async (path) => texts[new URL(path, origin).searchParams.get("format")];
const api = { text, get: async (path) => JSON.parse(await text(path)) };
const written = {};
const shown = (format, path, state) => code(api, format, { path, state }).catch((problem) => `# ${problem.message}`);
for (const [name, format, path, state] of asked) written[name] = await shown(format, path, state);
console.log(JSON.stringify(written));
"""


def snippets(origin, one, *formats):
    """What the page writes for a schedule, by format; `by id` for the one of a stored schedule."""
    node, _ = compute_driver_executable()
    state = {"model": one.model, "nfe": one.nfe, "solver": one.solver.value, "terminal": one.terminal.value}
    asked = [[form, form, "/v1/schedules?x=1", state] for form in formats] + [["by id", "apply", f"/v1/schedules/{one.id}", state]]
    texts = {form.value: render(one, form) for form in Format if takes(one, form) and not (form is Format.SDNEXT and one.kind == "edm")}
    given = json.dumps({"origin": origin, "texts": texts, "asked": asked})
    program = PROGRAM % (REPOSITORY / "service" / "page" / "copy.js").as_uri()
    done = subprocess.run([node, "--input-type=module", "-e", program], input=given, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


@pytest.fixture
def service(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with Hostile() as opened:
        yield opened


def multistep(**config):
    return diffusers.DPMSolverMultistepScheduler(**LATENT | config)


CASES = {
    "dpmpp_2m": (lambda: tiny.stable_diffusion(multistep(use_karras_sigmas=True)), "vp", Solver.DPMPP_2M),
    "ddim": (lambda: tiny.pixels("DDPMPipeline"), "vp", Solver.DDIM),
    "euler": (tiny.stable_diffusion_xl, "vp", Solver.EULER),
    "heun": (lambda: tiny.stable_diffusion(diffusers.HeunDiscreteScheduler(**LATENT)), "vp", Solver.HEUN),
    "unipc": (lambda: tiny.stable_diffusion(multistep()), "vp", Solver.UNIPC),
    "deis": (lambda: tiny.stable_diffusion(multistep()), "vp", Solver.DEIS),
    "edm": (lambda: tiny.edm(diffusers.EDMEulerScheduler), "edm", Solver.EULER),
    "flow": (tiny.stable_diffusion_3, "flow", Solver.EULER),
    "flux": (tiny.flux, "flow", Solver.EULER),
    "wan": (tiny.wan, "flow", Solver.DPMPP_2M),
}


@pytest.mark.parametrize("name", CASES)
def test_a_pipeline_evaluates_the_levels_of_the_schedule(service, name):
    make, kind, solver = CASES[name]
    wanted = schedule(kind=kind, solver=solver)
    service.body = wanted.model_dump_json().encode()
    written, ended = snippets(service.url, wanted, "apply", "diffusers"), []
    scale = 1000.0 if kind == "flow" else 1.0
    times = [scale * time for time in wanted.timesteps]
    if solver is Solver.HEUN:
        times = [times[0], *[time for time in times[1:] for _ in range(2)]]
    for text in written.values():
        torch.manual_seed(0)
        one = make()
        exec(compile(text, "snippet", "exec"), {"pipe": one.pipe})
        result = one(
            **{} if "edm" in name or "ddim" in name else {"latents": torch.randn(one.shape)}, generator=torch.Generator().manual_seed(1)
        )
        found = [float(time) for _, time, _ in one.calls]
        # Flux's network takes t itself.
        assert found == pytest.approx(times, abs=2e-4) or found == pytest.approx(wanted.timesteps, abs=2e-6)
        ended.append(torch.as_tensor(result.images if hasattr(result, "images") else result[0]))
    assert len(ended) == 3
    for other in ended[1:]:
        # Without us some classes scale the starting noise by sqrt(1 + sigma^2), 0.26 % more.
        torch.testing.assert_close(other, ended[0], atol=0.01 * float(ended[0].abs().max()), rtol=0)


def test_a_method_with_midpoints_is_not_shown_wrong(service):
    written = snippets(service.url, schedule(solver=Solver.DPMPP_2S, nfe=15), "diffusers")
    assert written["diffusers"].startswith("# Not in a few lines")


@pytest.mark.parametrize("solver", [solver for solver in Solver if takes(schedule(solver=solver), Format.KDIFFUSION)])
def test_k_diffusion_is_called_with_the_levels(service, solver, monkeypatch):
    """k-diffusion itself is heavy; its functions take `(model, x, sigmas, ...)`."""
    wanted, called = schedule(solver=solver), {}
    sampling = ModuleType("sampling")
    sampling.__getattr__ = lambda name: lambda _model, x, sigmas, **_options: called.update(name=name, x=x, sigmas=sigmas)
    package = ModuleType("k_diffusion")
    package.sampling = sampling
    monkeypatch.setitem(sys.modules, "k_diffusion", package)
    text = snippets(service.url, wanted, "kdiffusion")["kdiffusion"]
    exec(compile(text, "snippet", "exec"), {"model": None, "noise": torch.ones(2)})
    assert called["sigmas"].tolist() == pytest.approx(wanted.sigmas)
    assert torch.equal(called["x"], called["sigmas"][0] * torch.ones(2))
    assert called["name"].startswith("sample_")


def test_texts_are_those_of_the_formats(service):
    wanted = schedule()
    written = snippets(service.url, wanted, "comfyui", "sdnext", "a1111", "sdcpp")
    for form in ("comfyui", "sdnext", "a1111"):
        assert written[form] == render(wanted, Format(form))
    assert written["sdcpp"] == f"--sigmas {render(wanted, Format.SDCPP)}"


def test_the_python_client_prints_the_schedule(service, capsys):
    wanted = schedule()
    service.body = wanted.model_dump_json().encode()
    exec(compile(snippets(service.url, wanted, "python")["python"], "snippet", "exec"), {})
    assert capsys.readouterr().out.strip() == f"optimized {wanted.sigmas}"
