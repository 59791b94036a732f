"""The table of call sites in docs/integrate.md; `python -m tests.integrate.call_sites` writes it."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import diffusers
import torch

from ays_client.contract import Schedule, Solver
from ays_client.pipelines import apply_schedule
from tests.integrate import tiny
from tests.integrate.problems import LATENT, schedule

PAGE = Path(__file__).parents[2] / "docs" / "integrate.md"
START, END = "<!-- call sites: by tests/integrate/call_sites.py -->\n", "<!-- end of call sites -->\n"

IMAGE = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
MASK = torch.ones(1, 1, 16, 16)


class Family(NamedTuple):
    """Pipelines of one model: text2img, img2img, inpaint, by the ends of their class names."""

    make: Callable[..., tiny.Tiny]
    kind: str
    stem: str
    schedulers: tuple[str, ...]


VP = (
    *("DDIMScheduler", "PNDMScheduler", "DDPMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"),
    *("HeunDiscreteScheduler", "LMSDiscreteScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"),
    *("UniPCMultistepScheduler", "DEISMultistepScheduler", "SASolverScheduler"),
)
FAMILIES = (
    Family(tiny.stable_diffusion, "vp", "StableDiffusion", VP),
    Family(tiny.stable_diffusion_xl, "vp", "StableDiffusionXL", ("EulerDiscreteScheduler", "DPMSolverMultistepScheduler")),
    Family(partial(tiny.stable_diffusion_3, 16), "flow", "StableDiffusion3", ("FlowMatchEulerDiscreteScheduler",)),
    Family(tiny.flux, "flow", "Flux", ("FlowMatchEulerDiscreteScheduler",)),
)

TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "text2img": ("", {}),
    "img2img .2": ("Img2Img", {"image": IMAGE, "strength": 0.2}),
    "img2img .5": ("Img2Img", {"image": IMAGE, "strength": 0.5}),
    "img2img .8": ("Img2Img", {"image": IMAGE, "strength": 0.8}),
    "inpaint .5": ("Inpaint", {"image": IMAGE, "mask_image": MASK, "strength": 0.5}),
    "from_pipe .5": ("Img2Img", {"image": IMAGE, "strength": 0.5}),
}
"""By column: the pipeline class, and what the call has beyond its prompt."""


@cache
def parts(family: Family) -> tuple[dict[str, Any], tiny.Tiny]:
    """The components of a family's pipelines, but for the scheduler, and how they are called. The network predicts zeros."""
    torch.manual_seed(0)
    one = family.make()
    network = getattr(one.pipe, one.network)
    network.forward = _zeros
    decoder = {"vae": tiny.image_vae(16 if family.stem == "StableDiffusion3" else 4)} if one.pipe.vae is None else {}
    return one.pipe.components | decoder, one


def _zeros(*args: Any, **kwargs: Any) -> tuple[torch.Tensor]:
    seen = args[0] if args else kwargs["hidden_states"]
    return (torch.zeros_like(seen),)


def pipeline(family: Family, task: str, scheduler: Any) -> Any:
    """One of a family's pipelines."""
    components, _ = parts(family)
    kind = getattr(diffusers, f"{family.stem}{task}Pipeline")
    more = {"requires_safety_checker": False} if family.stem == "StableDiffusion" else {}
    wanted = {name: value for name, value in components.items() if name in kind._get_signature_keys(kind)[0]}
    pipe = kind(**wanted | more | {"scheduler": scheduler})
    pipe.set_progress_bar_config(disable=True)
    return pipe


def scheduler_for(family: Family, name: str) -> Any:
    if name == "FlowMatchEulerDiscreteScheduler":
        return diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=family.stem == "Flux")
    return getattr(diffusers, name)(**LATENT, **{"skip_prk_steps": True} if name == "PNDMScheduler" else {})


def times(pipe: Any, family: Family, column: str) -> list[float]:
    """The times at which a call evaluates its network, as the scheduler counts them."""
    _, one = parts(family)
    size = {"height": 16, "width": 16} if column != "text2img" and family.kind == "flow" else {}
    one.calls.clear()
    with torch.no_grad():
        pipe(**one.call | size | TASKS[column][1])
    return recorded(family)


def recorded(family: Family) -> list[float]:
    """The times of the last call, as the scheduler counts them."""
    _, one = parts(family)
    return [float(time) * (1000 if family.stem == "Flux" else 1) for _, time, _ in one.calls]


class _Evaluated(Exception):
    """The network has been evaluated once."""


def stock_start(family: Family, name: str, column: str) -> float:
    """The time of the pipeline's first evaluation by its own schedule; the call ends there."""

    def stop(*_: Any) -> None:
        raise _Evaluated

    _, one = parts(family)
    hook = getattr(one.pipe, one.network).register_forward_hook(stop)
    with suppress(_Evaluated):
        times(pipeline(family, TASKS[column][0], scheduler_for(family, name)), family, column)
    hook.remove()
    return recorded(family)[0]


def scheduled_times(family: Family, name: str, column: str, wanted: Schedule) -> list[float]:
    """The times at which the pipeline evaluates by a schedule."""
    task = TASKS[column][0]
    pipe = pipeline(family, "" if column.startswith("from_pipe") else task, scheduler_for(family, name))
    apply_schedule(pipe, wanted, strict=True)
    if column.startswith("from_pipe"):
        components, _ = parts(family)
        more = {"requires_safety_checker": False} if family.stem == "StableDiffusion" else {}
        pipe = getattr(diffusers, f"{family.stem}{task}Pipeline").from_pipe(pipe, vae=components["vae"], **more)
        pipe.set_progress_bar_config(disable=True)
    return times(pipe, family, column)


def solver_for(name: str) -> Solver:
    own = {"HeunDiscreteScheduler": Solver.HEUN, "EulerAncestralDiscreteScheduler": Solver.EULER_ANCESTRAL}
    return own.get(name, Solver.DPMPP_2M)


def cells() -> Iterator[tuple[Family, str, str]]:
    """Every cell of the table: family, scheduler, column."""
    yield from ((family, name, column) for family in FAMILIES for name in family.schedulers for column in TASKS)


def cell(family: Family, name: str, column: str) -> str:
    """Evaluations, and where they start."""
    found = scheduled_times(family, name, column, schedule(kind=family.kind, solver=solver_for(name)))
    return f"{len(found)} from {found[0]:.0f}"


def table(texts: dict[tuple[Family, str, str], str]) -> str:
    """The table in Markdown, of the texts of its cells."""
    lines = [f"| Pipeline | Scheduler | {' | '.join(TASKS)} |", "|---" * (2 + len(TASKS)) + "|"]
    for family in FAMILIES:
        for name in family.schedulers:
            row = " | ".join(texts[family, name, column] for column in TASKS)
            lines.append(f"| {family.stem} | `{name.removesuffix('Scheduler')}` | {row} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the table into the page."""
    warnings.simplefilter("ignore")
    before, _, rest = PAGE.read_text().partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(before + START + table({key: cell(*key) for key in cells()}) + END + after)


if __name__ == "__main__":
    main()
