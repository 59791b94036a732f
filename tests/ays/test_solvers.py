"""Samplers: declared orders, agreement with the printed methods and with diffusers, exact posteriors, shared prefixes."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    IPNDMScheduler,
    LTXEulerAncestralRFScheduler,
)
from torch import Tensor

from ays_client.solvers import CARDS, Solver
from tests.ays import naive, naive_solvers
from tests.ays.problems import FIXED, evaluator, plane, spectrum
from worker.ays.analytic import Gaussian, GaussianMixture
from worker.ays.noise import VP, scaled_linear_betas
from worker.ays.paths import Brownian, Clock, Stream, brownian, inverse_square, starting_noise
from worker.ays.profile.profile import log_grid
from worker.ays.solvers import SOLVERS, sample, trajectory

LAW = plane()
DETERMINISTIC = [name for name, solver in FIXED.items() if not solver.stochastic]
STOCHASTIC = [name for name, solver in FIXED.items() if solver.stochastic]
TERMINALS = pytest.mark.parametrize("last", [0.0, 0.05], ids=["zero", "sigma_min"])
UNEVEN = [20.0, 11.0, 5.5, 3.9, 1.7, 0.8, 0.41, 0.15]


def noises(n: int, shape: tuple[int, ...] = (2,)) -> Tensor:
    return starting_noise(shape, range(n), seed=0, stream=Stream.FRESH)


def fine_paths(levels: list[float], n: int, shape: tuple[int, ...] = (2,), *, clock: Clock = inverse_square) -> Brownian:
    """Brownian paths on a grid that is finer than the levels and holds all of them."""
    positive = [level for level in levels if level > 0]
    between = np.sqrt(np.array(positive[:-1]) * np.array(positive[1:]))
    return brownian(np.sort([*positive, *between])[::-1], shape, range(n), seed=0, stream=Stream.FRESH, clock=clock)


def paths_for(name: str, n: int) -> Brownian | None:
    """Paths on a grid of their own, for solvers that need them."""
    if not SOLVERS[name].stochastic:
        return None
    return brownian(log_grid(20.0, 0.05, 60), (2,), range(n), seed=0, stream=Stream.FRESH, clock=SOLVERS[name].noise.clock)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_the_order_of_convergence_is_the_declared_one(name: str) -> None:
    """Regression of the log-error on the log-step over the Gaussian's exact flow, on log-uniform grids.

    From so far above the data the first steps, which are of lower order, hardly err.
    """
    law = spectrum(sigma_min=0.05, sigma_max=1000.0)
    x = noises(4, (5,))
    exact = law.flow(1000.0 * x, 1000.0, 0.05)
    steps = 2 ** np.arange(6, 9) if SOLVERS[name].order < 3 else 2 ** np.arange(7, 10)
    errors = [(sample(SOLVERS[name], law.denoise, log_grid(1000.0, 0.05, n + 1), x) - exact).abs().max().item() for n in steps]
    slope = np.polyfit(np.log(1 / steps), np.log(errors), 1)[0]
    # Heun closes at first order with one step of size h: locally h^2, so the order stays.
    assert slope == pytest.approx(SOLVERS[name].order, abs=0.2)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_the_order_of_the_part_without_noise_is_the_declared_one(name: str) -> None:
    """Successive halvings of the step, on two wide components: on one Gaussian the SDE's solvers are exact, as there D does not move."""
    law = GaussianMixture(torch.tensor([[-1.0, 0.0], [1.0, 0.5]]), torch.tensor([0.7, 0.5]), sigma_min=0.3, sigma_max=20.0)
    clock = SOLVERS[name].noise.clock
    still = Brownian(clock(np.array([20.0, 0.3])), torch.zeros(2, 4, 2, dtype=torch.float64), clock, _bridges={0: torch.zeros(4, 2)})
    # Where half the curvature is missing, third order fades into second late.
    steps = 2 ** np.arange(7, 11) if name == "dpmpp_3m_sde" else 2 ** np.arange(5, 9)
    ends = [sample(SOLVERS[name], law.denoise, log_grid(20.0, 0.3, n + 1), noises(4), brownian=still) for n in steps]
    changes = np.array([(fine - coarse).square().sum().item() ** 0.5 for coarse, fine in itertools.pairwise(ends)])
    # ER-SDE's integrals are sums of 200 points, which shows as first order far below the errors here.
    assert np.log2(changes[:-1] / changes[1:]).mean() == pytest.approx(SOLVERS[name].order, abs=0.25)


def test_ipndm_is_of_fourth_order_where_its_steps_are_even() -> None:
    law = spectrum(sigma_min=1.0, sigma_max=20.0)
    x = noises(4, (5,))
    exact = law.flow(20.0 * x, 20.0, 1.0)
    errors = [(sample(SOLVERS["ipndm"], law.denoise, np.linspace(20.0, 1.0, n + 1), x) - exact).abs().max().item() for n in (128, 256)]
    assert np.log2(errors[0] / errors[1]) > 3.4


PRINTED = {
    "euler": naive.euler,
    "ddim": naive.ddim,
    "heun": naive.heun,
    "dpmpp_2s": naive_solvers.dpmpp_2s,
    "res_2s": naive_solvers.res_2s,
    "exp_heun_2_x0": naive_solvers.exp_heun_2_x0,
    "dpmpp_2m": naive.dpmpp_2m,
    "res_multistep": naive_solvers.res_multistep,
    "dpmpp_3m": naive_solvers.dpmpp_3m,
    "unipc": partial(naive_solvers.unipc, order=2),
    "unipc_3": partial(naive_solvers.unipc, order=3),
    "deis": naive_solvers.deis,
    "ipndm": naive_solvers.ipndm,
}


@pytest.mark.parametrize("name", DETERMINISTIC)
@TERMINALS
@pytest.mark.parametrize("steps", [1, 2, 3, 8])
def test_deterministic_samplers_agree_with_the_printed_methods(name: str, last: float, steps: int) -> None:
    levels = [*UNEVEN[:steps], last]
    expected = PRINTED[name](naive.one_level(LAW), 20.0 * noises(5), levels)
    torch.testing.assert_close(sample(SOLVERS[name], LAW.denoise, np.array(levels), noises(5)), expected, rtol=1e-8, atol=1e-9)


PRINTED_SDE = {
    "euler_ancestral": naive.euler_ancestral,
    "ddpm": naive.ddpm,
    "sddim": naive.euler_ancestral,
    "dpmpp_2m_sde": naive.dpmpp_2m_sde,
    "dpmpp_2m_sde_heun": naive_solvers.dpmpp_2m_sde_heun,
    "dpmpp_3m_sde": naive_solvers.dpmpp_3m_sde,
    **{f"er_sde_{n}": partial(naive_solvers.er_sde, stages=n) for n in (1, 2, 3)},
}


@pytest.mark.parametrize("name", STOCHASTIC)
@TERMINALS
def test_stochastic_samplers_agree_with_the_printed_methods_for_the_same_noise(name: str, last: float) -> None:
    levels = [*UNEVEN, last]
    path = fine_paths(levels, 5, clock=SOLVERS[name].noise.clock)
    expected = PRINTED_SDE[name](naive.one_level(LAW), 20.0 * noises(5), levels, naive.unit_noise(path))
    received = sample(SOLVERS[name], LAW.denoise, np.array(levels), noises(5), brownian=path)
    torch.testing.assert_close(received, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_coarse_and_fine_steps_without_a_denoiser_end_in_the_same_noise(name: str) -> None:
    """The clock of every noise function keeps the variance at sigma^2 and is additive."""
    solver = SOLVERS[name]
    path = fine_paths(UNEVEN, 400, clock=solver.noise.clock)
    coarse, fine = (
        sample(solver, lambda x, _: torch.zeros_like(x), np.array(levels), noises(400), brownian=path) for levels in (UNEVEN[::7], UNEVEN)
    )
    torch.testing.assert_close(coarse, fine, rtol=1e-12, atol=1e-12)
    assert float((fine / UNEVEN[-1]).std()) == pytest.approx(1, abs=4 / math.sqrt(2 * 800))


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
@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.schedulers.get("vp") == "DPMSolverMultistepScheduler"])
def test_the_schedulers_of_diffusers_agree_on_overwritten_levels(name: str) -> None:
    levels, times = vp_levels()
    path = fine_paths(levels.tolist(), 4) if SOLVERS[name].stochastic else None
    received = sample(SOLVERS[name], LAW.denoise, levels, noises(4), brownian=path)
    expected = diffusers_dpm(levels, times, path, **CARDS[Solver(name)].config)
    torch.testing.assert_close(received, expected, rtol=0, atol=1e-5)


def drawn_path(levels: np.ndarray, seed: int) -> Brownian:
    """The path whose normalized increments over the steps are what a scheduler draws from a generator of that seed."""
    u, generator = levels[levels > 0] ** -2, torch.Generator().manual_seed(seed)
    z = torch.stack([torch.randn(4, 2, generator=generator, dtype=torch.float64) for _ in u[1:]])
    steps = torch.from_numpy(np.sqrt(np.diff(u))).reshape(-1, 1, 1)
    return Brownian(u, torch.cat([torch.zeros(1, 4, 2, dtype=torch.float64), (steps * z).cumsum(0)]))


@quiet_diffusers
def test_euler_ancestral_of_diffusers_agrees_for_the_noise_that_it_draws() -> None:
    levels, times = vp_levels()
    scheduler = overwritten(EulerAncestralDiscreteScheduler(**SD), levels, times)
    generator, x = torch.Generator().manual_seed(3), levels[0] * noises(4)
    for n, t in enumerate(scheduler.timesteps):
        scheduler.scale_model_input(x, t)
        x = scheduler.step(epsilon(x.double(), levels[n]), t, x, generator=generator).prev_sample
    received = sample(SOLVERS["euler_ancestral"], LAW.denoise, levels, noises(4), brownian=drawn_path(levels, 3))
    torch.testing.assert_close(received, x.double(), rtol=0, atol=1e-5)


@quiet_diffusers
def test_ddpm_of_diffusers_agrees_on_its_own_timesteps() -> None:
    times = [999, 850, 736, 545, 343, 124, 24]
    levels = np.append(VP(scaled_linear_betas()).sigma(times), 0.0)
    scheduler = DDPMScheduler(**SD, clip_sample=False)
    scheduler.set_timesteps(timesteps=times)
    generator, x = torch.Generator().manual_seed(5), levels[0] * noises(4) / math.hypot(1, levels[0])
    for n, t in enumerate(scheduler.timesteps):
        scale = math.hypot(1, levels[n])
        if levels[n + 1] > 0:
            x = scheduler.step(epsilon(x * scale, levels[n]), t, x, generator=generator).prev_sample
        else:  # it would still add the noise of its own last step
            x = scheduler.step(epsilon(x * scale, levels[n]), t, x, generator=generator).pred_original_sample
    received = sample(SOLVERS["ddpm"], LAW.denoise, levels, noises(4), brownian=drawn_path(levels, 5))
    torch.testing.assert_close(received, x, rtol=0, atol=1e-5)


def test_ipndm_of_diffusers_agrees_with_its_alphas_and_betas_overwritten() -> None:
    levels = np.array(UNEVEN)
    scheduler = IPNDMScheduler()
    scheduler.set_timesteps(len(levels) - 1)
    scheduler.alphas = torch.from_numpy(1 / np.hypot(1, levels))
    scheduler.betas = torch.from_numpy(levels / np.hypot(1, levels))
    x = 20.0 * noises(4) * scheduler.alphas[0]
    for n, t in enumerate(scheduler.timesteps):
        alpha, beta = scheduler.alphas[n], scheduler.betas[n]
        slope = epsilon(x / alpha, levels[n])
        velocity = alpha * slope - beta * (x - beta * slope) / alpha
        x = scheduler.step(velocity, t, x).prev_sample
    received = sample(SOLVERS["ipndm"], LAW.denoise, levels, noises(4))
    torch.testing.assert_close(received, x / scheduler.alphas[-1], rtol=0, atol=1e-5)


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


def test_ancestral_euler_of_flow_models_is_no_noise_function() -> None:
    """In VE coordinates diffusers' class steps as `naive_solvers` has it; what it keeps of x depends on how a step is divided.

    A `Noise` phi keeps `phi' / phi`, whichever levels lie between, so this method can be none.
    """
    times = [0.99, 0.8, 0.55, 0.3, 0.1, 0.0]
    scheduler = LTXEulerAncestralRFScheduler()
    scheduler.set_timesteps(sigmas=times)
    drawn, generator = torch.Generator().manual_seed(7), torch.Generator().manual_seed(7)
    x = (1 - times[0]) * (level := times[0] / (1 - times[0])) * noises(4).float()
    for t, timestep in zip(times, scheduler.timesteps[:-1], strict=False):
        state, sigma = x.double() / (1 - t), t / (1 - t)
        denoised = state - sigma * epsilon(state, sigma)
        x = scheduler.step(((x - denoised) / t).float(), timestep, x, generator=generator).prev_sample

    def unit(_now: float, _then: float) -> Tensor:
        return torch.randn(4, 2, generator=drawn).double()

    expected = naive_solvers.euler_ancestral_of_flow(naive.one_level(LAW), level * noises(4), times, unit)
    torch.testing.assert_close(x.double(), expected, rtol=0, atol=1e-5)

    def kept(t: float, t_next: float) -> float:
        down = t_next**2 / t
        return down / (1 - down) / (t / (1 - t))

    assert kept(0.8, 0.3) != pytest.approx(kept(0.8, 0.55) * kept(0.55, 0.3), rel=0.1)
    # In the limit of short steps it is the SDE's phi = sigma^2.
    assert kept(0.8, 0.7999) == pytest.approx((0.7999 / 0.2001 / 4) ** 2, rel=1e-6)


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


@pytest.mark.parametrize("name", FIXED)
@TERMINALS
def test_schedules_run_together_as_they_run_alone(name: str, last: float) -> None:
    table = np.array([[*UNEVEN, last], [*UNEVEN[:5], 0.7, 0.3, 0.1, last], [*UNEVEN[:2], 5.0, 3.9, 1.7, 0.8, 0.41, 0.15, last]])
    path = paths_for(name, 3)
    together = sample(SOLVERS[name], LAW.denoise, table, noises(3), brownian=path)
    for row, received in zip(table, together, strict=True):
        alone = sample(SOLVERS[name], LAW.denoise, row, noises(3), brownian=path)
        torch.testing.assert_close(received, alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FIXED)
def test_equal_prefixes_are_evaluated_once(name: str) -> None:
    table = np.array([[20.0, 5.0, 1.0, 0.0], [20.0, 5.0, 0.5, 0.0], [20.0, 4.0, 1.0, 0.0], [20.0, 5.0, 1.0, 0.0]])
    path = paths_for(name, 3)
    denoise = evaluator(LAW)
    sample(SOLVERS[name], denoise, table, noises(3), brownian=path)
    # Distinct prefixes: 1 at the first level, 2 at the second, 3 at the third; two stages evaluate for the latter two twice.
    expected = 1 + 2 + 3 + (2 + 3 if SOLVERS[name].evaluations_per_step == 2 else 0)
    assert denoise.evaluations == 3 * expected


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("last", [0.0, 0.05])
def test_the_declared_number_of_evaluations_is_spent(name: str, last: float) -> None:
    solver, denoise = SOLVERS[name], evaluator(LAW)
    for nfe in (3, 5, 9):
        levels = np.append(log_grid(20.0, 0.1, solver.steps(nfe)), last)
        path = fine_paths(levels.tolist(), 1, clock=solver.noise.clock) if solver.stochastic else None
        before = denoise.evaluations
        sample(solver, denoise, levels, noises(1), brownian=path)
        assert denoise.evaluations - before == nfe == solver.evaluations(solver.steps(nfe))


@pytest.mark.parametrize("name", [name for name, solver in FIXED.items() if not solver.closes_differently])
def test_a_trajectory_visits_what_the_sampler_visits(name: str) -> None:
    path = paths_for(name, 3)
    states, estimates = trajectory(SOLVERS[name], LAW.denoise, np.array(UNEVEN), noises(3), brownian=path)
    for stop in range(2, len(UNEVEN) + 1):
        reached = sample(SOLVERS[name], LAW.denoise, np.array(UNEVEN[:stop]), noises(3), brownian=path)
        torch.testing.assert_close(states[stop - 1], reached, rtol=1e-12, atol=1e-12)
    expected = LAW.denoise(states.flatten(0, 1), torch.tensor(UNEVEN, dtype=torch.float64).repeat_interleave(3))
    torch.testing.assert_close(estimates.flatten(0, 1), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", STOCHASTIC)
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
