"""The start that imitates fine solutions: optimal where it can be enumerated, and better where a network contradicts itself."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.ays.problems import evaluator, flow_profile, plane, spectrum
from worker.ays.analytic import GaussianMixture
from worker.ays.choice import default_choice
from worker.ays.imitation import TRAJECTORIES, imitated, imitation, imitation_evaluations, optimal_paths
from worker.ays.ladder import optimal_levels
from worker.ays.noise import Array
from worker.ays.paths import Stream, starting_noise
from worker.ays.profile.profile import log_grid
from worker.ays.schedule import Terminal
from worker.ays.solvers import SOLVERS, trajectory
from worker.ays.validate import hold_out, squared_errors


class Drifting:
    """An exact denoiser that drifts above a level, as a network does that never saw what is there."""

    def __init__(self, law: GaussianMixture, above: float) -> None:
        self._law, self._above = law, above
        self.shape, self.sigma_min, self.sigma_max, self.dtype, self.device = law.shape, law.sigma_min, law.sigma_max, law.dtype, law.device

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        drift = (sigma.unsqueeze(1) / self._above).log().clamp(min=0).square()
        return self._law.denoise(x, sigma) + drift * torch.tensor([1.0, -1.0])


def imitate(law: GaussianMixture | Drifting, steps: int, *, terminal: Terminal = "zero", grid: int = 48, seed: int = 0) -> Array:
    levels = log_grid(law.sigma_max, law.sigma_min, grid)
    return imitation(evaluator(law), law.shape, levels=levels, steps=steps, terminal=terminal, indices=range(TRAJECTORIES), seed=seed)


def test_the_best_two_steps_of_each_solution_are_found() -> None:
    """With two steps the search is exhaustive: the student at the middle level does not depend on how it got there."""
    law = plane()
    levels = log_grid(law.sigma_max, law.sigma_min, 24)
    noise = starting_noise(law.shape, range(5), seed=0, stream=Stream.SEARCH)
    states, estimates = trajectory(SOLVERS["dpmpp_2m"], law.denoise, levels, noise)
    nodes, goals = np.append(levels, 0.0), torch.cat([states, estimates[-1:]])
    paths = optimal_paths(law.denoise, law.shape, nodes, goals, 2)
    for solution in range(5):
        ends = []
        for middle in range(1, 24):
            sigma = torch.from_numpy(nodes)[[0, middle]]
            first = law.denoise(goals[0], sigma[:1].expand(5))
            state = first + sigma[1] / sigma[0] * (goals[0] - first)
            ends.append(law.denoise(state, sigma[1:].expand(5))[solution])
        errors = (torch.stack(ends) - goals[-1, solution]).square().sum(1)
        assert tuple(paths[solution]) == (0, 1 + int(errors.argmin()))


@pytest.mark.parametrize("terminal", ["zero", "sigma_min"])
@pytest.mark.parametrize("steps", [2, 7, 40])
def test_a_schedule_decreases_strictly_within_the_range_and_ends_where_it_should(terminal: Terminal, steps: int) -> None:
    law = plane()
    found = imitate(law, steps, terminal=terminal)
    assert found.shape == (steps + 1,)
    assert np.all(np.diff(found) < 0)
    assert found[0] == pytest.approx(law.sigma_max)
    assert found[-1] == (0.0 if terminal == "zero" else pytest.approx(law.sigma_min))
    assert found[-2] >= law.sigma_min * (1 - 1e-12)


def test_it_is_the_better_start_where_the_network_drifts() -> None:
    law, solver, steps = Drifting(plane(), 3.0), SOLVERS["ddim"], 10
    profile = flow_profile(law)
    levels = log_grid(law.sigma_max, law.sigma_min, 64)
    fresh = hold_out(solver, law.denoise, law.shape, levels=levels, terminal="zero", indices=range(128), seed=0, stream=Stream.FRESH)
    summed = optimal_levels(profile, solver, steps, terminal="zero", choice=default_choice(profile, solver))
    ours, others = squared_errors(solver, law.denoise, np.stack([imitate(law, steps), summed]), fresh).mean(axis=1)
    assert ours < 0.7 * others


def test_it_costs_what_the_plan_says_and_is_the_same_for_the_same_seed() -> None:
    law, denoise = spectrum(), evaluator(spectrum())
    levels = log_grid(law.sigma_max, law.sigma_min, 40)
    asked = {"levels": levels, "steps": 6, "terminal": "zero", "indices": range(TRAJECTORIES)}
    found = imitation(denoise, law.shape, **asked, seed=3)
    assert 0.9 < denoise.evaluations / imitation_evaluations(TRAJECTORIES, grid=40, steps=6) <= 1
    assert np.array_equal(found, imitation(denoise, law.shape, **asked, seed=3))
    assert not np.array_equal(found, imitation(denoise, law.shape, **asked, seed=4))


def test_nothing_is_imitated_where_no_grid_has_room_for_the_steps_or_the_memory_for_the_states() -> None:
    assert imitated((1, 8, 8), grid=16, steps=15) == TRAJECTORIES
    assert imitated((1, 8, 8), grid=16, steps=16) == 0
    assert imitated((1, 8, 8), grid=16, steps=1) == 0
    assert imitated((16, 21, 90, 160), grid=64, steps=8) == 0
