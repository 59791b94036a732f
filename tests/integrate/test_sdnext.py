"""What SD.Next hands to a scheduler of diffusers."""

import inspect

import diffusers
import pytest

from ays_client.consumers import runs_solver
from ays_client.contract import Solver
from ays_client.formats import Format
from ays_client.solvers import CARDS


@pytest.mark.parametrize("solver", [solver for solver in Solver if runs_solver(Format.SDNEXT, solver, "vp")])
def test_what_sdnext_passes_on_is_an_argument_of_that_scheduler(solver):
    """It gives `timesteps=`, to a scheduler of a flow model `sigmas=`, to `set_timesteps`."""
    name = CARDS[solver].schedulers["vp"]
    assert "timesteps" in inspect.signature(getattr(diffusers, name).set_timesteps).parameters
    if runs_solver(Format.SDNEXT, solver, "flow"):
        name = CARDS[solver].schedulers["flow"]
        assert "sigmas" in inspect.signature(getattr(diffusers, name).set_timesteps).parameters
