"""One solver, three places: the worker's declaration, the client's card and the page of documentation agree."""

from pathlib import Path

import diffusers
import pytest

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
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert lines == [row(solver.value, card) for solver, card in CARDS.items()]
