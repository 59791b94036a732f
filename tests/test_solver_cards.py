"""One solver, three places: the worker's declaration, the client's card and the page of documentation agree."""

import re
from pathlib import Path

import diffusers
import pytest

from ays_client.consumers import Format, runs_solver
from ays_client.solvers import CARDS, Card, Solver
from worker.ays.solvers import SOLVERS

PAGE = Path(__file__).parents[1] / "docs" / "solvers.md"


def row(name: str, card: Card) -> str:
    """A line of the page's table."""
    arguments = ", ".join(f"{key}={value!r}" for key, value in card.config.items()).replace("'", '"')
    scheduler = card.schedulers.get("vp")
    cells = [
        f"`{name}`",
        str(card.order),
        "2, the last 1" if card.evaluations_per_step == 2 else "1",
        SOLVERS[name].noise.name if card.stochastic else "-",
        f"`{card.kdiffusion}`" if card.kdiffusion else "-",
        f"`{scheduler}({arguments})`" if scheduler else "-",
        "exact" if card.exact else "approximate",
    ]
    return f"| {' | '.join(cells)} |"


def test_every_declared_solver_has_a_card_and_no_other() -> None:
    assert list(CARDS) == list(Solver) == list(SOLVERS)


@pytest.mark.parametrize("solver", Solver)
def test_a_card_says_what_the_worker_declares(solver: Solver) -> None:
    card, declared = CARDS[solver], SOLVERS[solver]
    assert declared.name == solver.value
    assert (card.order, card.stochastic, card.exact) == (declared.order, declared.stochastic, declared.exact)
    assert card.evaluations_per_step == declared.evaluations_per_step
    for nfe in range(1, 65):
        assert card.steps(nfe) == declared.steps(nfe)
        assert card.fits(nfe) == (declared.evaluations(declared.steps(nfe)) == nfe)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("solver", Solver)
def test_the_named_schedulers_exist_and_take_the_named_arguments(solver: Solver) -> None:
    card = CARDS[solver]
    for kind, name in card.schedulers.items():
        scheduler = getattr(diffusers, name)(**card.config)
        if card.config and kind != "edm":
            assert {key: scheduler.config[key] for key in card.config} == dict(card.config)


def test_the_table_of_the_page_is_what_is_declared() -> None:
    table, *_ = PAGE.read_text().split("\n## ")
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    assert lines == [row(solver.value, card) for solver, card in CARDS.items()]


def test_the_map_of_comfyui_names_what_the_node_runs() -> None:
    section = PAGE.read_text().split("\n## ComfyUI\n")[1].split("\n## ")[0]
    told = {}
    for line in section.splitlines():
        if line.startswith("| `"):
            names, of_sigma, _, of_flow, _ = line.strip("| ").split(" | ")
            told |= {name: [cell.startswith("none") for cell in (of_sigma, of_flow)] for name in re.findall(r"`(\w+)`", names)}
    assert set(told) == set(Solver)
    for solver in set(Solver) - {Solver.FITTED}:
        assert told[solver] == [not runs_solver(Format.COMFYUI, solver, kind) for kind in ("vp", "flow")]
