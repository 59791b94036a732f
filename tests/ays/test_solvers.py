"""Samplers: declared orders, agreement with the printed methods and with diffusers, exact posteriors, shared prefixes."""

import itertools
import math

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, EulerDiscreteScheduler, HeunDiscreteScheduler
from torch import Tensor

from tests.ays import naive
from tests.ays.problems import evaluator, plane, spectrum
from worker.ays.analytic import Gaussian
from worker.ays.noise import VP, scaled_linear_betas
from worker.ays.paths import Brownian, Stream, brownian, starting_noise
from worker.ays.profile import log_grid
from worker.ays.solvers import SOLVERS, sample, trajectory

LAW = plane()
DETERMINISTIC = [name for name, solver in SOLVERS.items() if not solver.stochastic]
TERMINALS = pytest.mark.parametrize("last", [0.0, 0.05], ids=["zero", "sigma_min"])
UNEVEN = [20.0, 11.0, 5.5, 3.9, 1.7, 0.8, 0.41, 0.15]


def noises(n: int, shape: tuple[int, ...] = (2,)) -> Tensor:
    return starting_noise(shape, range(n), seed=0, stream=Stream.FRESH)


def fine_paths(levels: list[float], n: int, shape: tuple[int, ...] = (2,)) -> Brownian:
    """Brownian paths on a grid that is finer than the levels and holds all of them."""
    positive = [level for level in levels if level > 0]
    between = np.sqrt(np.array(positive[:-1]) * np.array(positive[1:]))
    return brownian(np.sort([*positive, *between])[::-1], shape, range(n), seed=0, stream=Stream.FRESH)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_the_order_of_convergence_is_the_declared_one(name: str) -> None:
    """Regression of the log-error on the log-step over the Gaussian's exact flow, on log-uniform grids."""
    law = spectrum(sigma_min=0.05, sigma_max=20.0)
    x = noises(4, (5,))
    exact = law.flow(20.0 * x, 20.0, 0.05)
    steps = 2 ** np.arange(5, 9)
    errors = [(sample(SOLVERS[name], law.denoise, log_grid(20.0, 0.05, n + 1), x) - exact).abs().max().item() for n in steps]
    slope = np.polyfit(np.log(1 / steps), np.log(errors), 1)[0]
    # Heun closes at first order with one step of size h: locally h^2, so the order stays.
    assert slope == pytest.approx(SOLVERS[name].order, abs=0.1)


PRINTED = {"euler": naive.euler, "ddim": naive.ddim, "heun": naive.heun, "dpmpp_2m": naive.dpmpp_2m}


@pytest.mark.parametrize("name", PRINTED)
@TERMINALS
def test_deterministic_samplers_agree_with_the_printed_methods(name: str, last: float) -> None:
    levels = [*UNEVEN, last]
    expected = PRINTED[name](naive.one_level(LAW), 20.0 * noises(5), levels)
    torch.testing.assert_close(sample(SOLVERS[name], LAW.denoise, np.array(levels), noises(5)), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("name", "printed"), [("sddim", naive.euler_ancestral), ("dpmpp_2m_sde", naive.dpmpp_2m_sde)])
@TERMINALS
def test_stochastic_samplers_agree_with_the_printed_methods_for_the_same_noise(name: str, printed, last: float) -> None:
    levels = [*UNEVEN, last]
    path = fine_paths(levels, 5)
    expected = printed(naive.one_level(LAW), 20.0 * noises(5), levels, naive.unit_noise(path))
    received = sample(SOLVERS[name], LAW.denoise, np.array(levels), noises(5), brownian=path)
    torch.testing.assert_close(received, expected, rtol=1e-9, atol=1e-10)


def epsilon(x: Tensor, sigma: float) -> Tensor:
    return (x - LAW.denoise(x, torch.full((len(x),), sigma, dtype=torch.float64))) / sigma


def vp_levels() -> tuple[np.ndarray, np.ndarray]:
    """Off-grid levels of the Stable Diffusion table with their float timesteps, closed with 0."""
    process = VP(scaled_linear_betas())
    levels = np.geomspace(process.sigma_max, 0.06, 8) * np.linspace(1, 0.9, 8)
    return np.append(levels, 0.0), process.time(levels)


quiet_diffusers = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
"""Its tables go from torch to numpy in a way that numpy 2 will drop."""

SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "prediction_type": "epsilon"}


def overwritten(scheduler, levels: np.ndarray, times: np.ndarray):
    """Stock `set_timesteps`, then our levels: what works for every scheduler."""
    scheduler.set_timesteps(len(times))
    scheduler.sigmas = torch.from_numpy(levels)
    scheduler.timesteps = torch.from_numpy(times)
    return scheduler


def diffusers_dpm(levels: np.ndarray, times: np.ndarray, path: Brownian | None, **config: object) -> Tensor:
    scheduler = overwritten(DPMSolverMultistepScheduler(**SD, **config), levels, times)
    x = levels[0] * noises(4) / math.sqrt(1 + levels[0] ** 2)
    unit = None if path is None else naive.unit_noise(path)
    for n, t in enumerate(scheduler.timesteps):
        scale = math.sqrt(1 + levels[n] ** 2)
        noise = unit(levels[n], levels[n + 1]) if unit is not None and levels[n + 1] > 0 else torch.zeros_like(x)
        step = {} if path is None else {"variance_noise": noise}
        x = scheduler.step(epsilon((x * scale).double(), levels[n]), t, x, **step).prev_sample
    return x.double()


@quiet_diffusers
@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("ddim", {"solver_order": 1, "algorithm_type": "dpmsolver++"}),
        ("dpmpp_2m", {"solver_order": 2, "algorithm_type": "dpmsolver++"}),
        ("sddim", {"solver_order": 1, "algorithm_type": "sde-dpmsolver++"}),
        ("dpmpp_2m_sde", {"solver_order": 2, "algorithm_type": "sde-dpmsolver++"}),
    ],
)
def test_the_dpm_solvers_of_diffusers_agree_on_overwritten_levels(name: str, config: dict[str, object]) -> None:
    levels, times = vp_levels()
    path = fine_paths(levels.tolist(), 4) if SOLVERS[name].stochastic else None
    received = sample(SOLVERS[name], LAW.denoise, levels, noises(4), brownian=path)
    torch.testing.assert_close(received, diffusers_dpm(levels, times, path, **config), rtol=0, atol=1e-5)


@quiet_diffusers
def test_euler_of_diffusers_agrees_on_overwritten_levels() -> None:
    levels, times = vp_levels()
    scheduler = overwritten(EulerDiscreteScheduler(**SD), levels, times)
    x = levels[0] * noises(4)
    for n, t in enumerate(scheduler.timesteps):
        scheduler.scale_model_input(x, t)
        x = scheduler.step(epsilon(x.double(), levels[n]), t, x).prev_sample
    torch.testing.assert_close(sample(SOLVERS["euler"], LAW.denoise, levels, noises(4)), x.double(), rtol=0, atol=1e-5)


@quiet_diffusers
def test_heun_of_diffusers_agrees_on_overwritten_levels() -> None:
    levels, times = vp_levels()
    scheduler = HeunDiscreteScheduler(**SD)
    scheduler.set_timesteps(len(times))
    scheduler.sigmas = torch.from_numpy(np.concatenate([levels[:1], levels[1:-1].repeat(2), levels[-1:]]))
    scheduler.timesteps = torch.from_numpy(np.concatenate([times[:1], times[1:].repeat(2)]))
    x = levels[0] * noises(4)
    called = np.concatenate([levels[:1], levels[1:-1].repeat(2)])
    for t, sigma in zip(scheduler.timesteps, called, strict=True):
        x = scheduler.step(epsilon(x.double(), sigma), t, x).prev_sample
    torch.testing.assert_close(sample(SOLVERS["heun"], LAW.denoise, levels, noises(4)), x.double(), rtol=0, atol=1e-5)
    assert len(called) == SOLVERS["heun"].evaluations(8)


def test_sddim_draws_from_the_exact_posterior_of_known_data() -> None:
    """With D = x_0 a step draws from `p(x_b | x_a, x_0)`, a Gaussian that Bayes' rule gives."""
    n, x_0, a, b = 8000, 0.8, 3.0, 1.2
    path = brownian(np.array([a, b]), (1,), range(n), seed=0, stream=Stream.FRESH)
    start = torch.full((n, 1), 2.0 / a, dtype=torch.float64)
    x = sample(SOLVERS["sddim"], lambda x, _: torch.full_like(x, x_0), np.array([a, b]), start, brownian=path)
    precision = 1 / b**2 + 1 / (a**2 - b**2)
    mean, variance = (x_0 / b**2 + 2.0 / (a**2 - b**2)) / precision, 1 / precision
    assert abs(x.mean().item() - mean) < 4 * math.sqrt(variance / n)
    assert abs(x.var().item() - variance) < 4 * variance * math.sqrt(2 / n)


@pytest.mark.parametrize("steps", [1, 3, 40])
def test_sddim_on_gaussian_data_has_the_mean_and_variance_of_its_recursion(steps: int) -> None:
    """Each step: variance -> gain^2 variance + noise; many steps approach the law's own variance."""
    law, n = Gaussian(0.5, sigma_min=0.1, sigma_max=10.0), 8000
    levels = log_grid(10.0, 0.1, steps + 1)
    path = brownian(levels, (1,), range(n), seed=1, stream=Stream.FRESH)
    x = sample(SOLVERS["sddim"], law.denoise, levels, noises(n, (1,)) + 0.3, brownian=path)
    mean, variance = 3.0, 100.0
    for a, b in itertools.pairwise(levels):
        ratio = (b / a) ** 2
        gain = ratio + (1 - ratio) * 0.25 / (0.25 + a**2)
        mean, variance = gain * mean, gain**2 * variance + b**2 * (1 - ratio)
    assert abs(x.mean().item() - mean) < 4 * math.sqrt(variance / n)
    assert abs(x.var().item() - variance) < 4 * variance * math.sqrt(2 / n)
    if steps == 40:
        assert variance == pytest.approx(0.25 + 0.01, rel=0.15)


@pytest.mark.parametrize("name", SOLVERS)
@TERMINALS
def test_schedules_run_together_as_they_run_alone(name: str, last: float) -> None:
    table = np.array([[*UNEVEN, last], [*UNEVEN[:5], 0.7, 0.3, 0.1, last], [*UNEVEN[:2], 5.0, 3.9, 1.7, 0.8, 0.41, 0.15, last]])
    path = brownian(log_grid(20.0, 0.05, 60), (2,), range(3), seed=0, stream=Stream.FRESH) if SOLVERS[name].stochastic else None
    together = sample(SOLVERS[name], LAW.denoise, table, noises(3), brownian=path)
    for row, received in zip(table, together, strict=True):
        alone = sample(SOLVERS[name], LAW.denoise, row, noises(3), brownian=path)
        torch.testing.assert_close(received, alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SOLVERS)
def test_equal_prefixes_are_evaluated_once(name: str) -> None:
    table = np.array([[20.0, 5.0, 1.0, 0.0], [20.0, 5.0, 0.5, 0.0], [20.0, 4.0, 1.0, 0.0], [20.0, 5.0, 1.0, 0.0]])
    path = brownian(log_grid(20.0, 0.05, 60), (2,), range(3), seed=0, stream=Stream.FRESH) if SOLVERS[name].stochastic else None
    denoise = evaluator(LAW)
    sample(SOLVERS[name], denoise, table, noises(3), brownian=path)
    # Distinct prefixes: 1 at the first level, 2 at the second, 3 at the third; Heun evaluates the latter two twice.
    expected = 1 + 2 + 3 + (2 + 3 if name == "heun" else 0)
    assert denoise.evaluations == 3 * expected


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("last", [0.0, 0.05])
def test_the_declared_number_of_evaluations_is_spent(name: str, last: float) -> None:
    solver, denoise = SOLVERS[name], evaluator(LAW)
    for nfe in (3, 5, 9):
        levels = np.append(log_grid(20.0, 0.1, solver.steps(nfe)), last)
        path = fine_paths(levels.tolist(), 1) if solver.stochastic else None
        before = denoise.evaluations
        sample(solver, denoise, levels, noises(1), brownian=path)
        assert denoise.evaluations - before == nfe == solver.evaluations(solver.steps(nfe))


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m", "dpmpp_2m_sde"])
def test_a_trajectory_visits_what_the_sampler_visits(name: str) -> None:
    path = fine_paths(UNEVEN, 3) if SOLVERS[name].stochastic else None
    states, estimates = trajectory(SOLVERS[name], LAW.denoise, np.array(UNEVEN), noises(3), brownian=path)
    for stop in range(2, len(UNEVEN) + 1):
        reached = sample(SOLVERS[name], LAW.denoise, np.array(UNEVEN[:stop]), noises(3), brownian=path)
        torch.testing.assert_close(states[stop - 1], reached, rtol=1e-12, atol=1e-12)
    expected = LAW.denoise(states.flatten(0, 1), torch.tensor(UNEVEN, dtype=torch.float64).repeat_interleave(3))
    torch.testing.assert_close(estimates.flatten(0, 1), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["sddim", "dpmpp_2m_sde"])
def test_stochastic_samplers_refuse_to_run_without_a_path(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is stochastic and received no Brownian path; expected one"):
        sample(SOLVERS[name], LAW.denoise, np.array(UNEVEN), noises(2))


def test_a_later_start_is_where_the_path_itself_has_come_without_a_denoiser() -> None:
    """With D = 0 nothing but noise moves the state: every start ends in the same sample, and a start is standard normal."""
    path = fine_paths(UNEVEN, 400)

    def nothing(x: Tensor, _: Tensor) -> Tensor:
        return torch.zeros_like(x)

    whole = np.array([20.0, 5.5, 1.7, 0.15])
    from_top = sample(SOLVERS["sddim"], nothing, whole, noises(400), brownian=path)
    for first in (11.0, 5.5, 1.7):
        late = sample(SOLVERS["sddim"], nothing, np.array([first, 0.8, 0.15]), noises(400), brownian=path)
        torch.testing.assert_close(late, from_top, rtol=1e-12, atol=1e-12)
    assert float((from_top / 0.15).std()) == pytest.approx(1, abs=4 / math.sqrt(2 * 800))
