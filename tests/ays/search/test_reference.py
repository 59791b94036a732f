"""References that are exact where the exact solution is known, and errors that are what they say."""

import numpy as np
import pytest
import torch

from tests.ays.problems import FIXED, evaluator, plane, spectrum
from worker.ays.paths import Stream
from worker.ays.profile.profile import log_grid
from worker.ays.search.reference import deviations, reference_errors, reference_grid, solve_reference, squared_errors
from worker.ays.solvers import SOLVERS, sample

LAW = spectrum()


def references(name: str, terminal: str = "zero", *, law=LAW, points: int = 64, n: int = 6, stream: Stream = Stream.VALIDATION):
    levels = log_grid(law.sigma_max, law.sigma_min, points)
    return solve_reference(
        SOLVERS[name],
        law.denoise,
        law.shape,
        levels=levels,
        terminal=terminal,
        indices=range(n),
        seed=0,
        stream=stream,
    )


def test_the_fine_reference_is_the_exact_flow_of_a_gaussian() -> None:
    state, clean = references("ddim", "sigma_min", points=300), references("ddim", "zero", points=300)
    exact = LAW.flow(20.0 * state.noise, 20.0, 0.02)
    torch.testing.assert_close(state.reference, exact, rtol=1e-3, atol=1e-6)
    expected = LAW.denoise(exact, torch.full((6,), 0.02, dtype=torch.float64))
    torch.testing.assert_close(clean.reference, expected, rtol=1e-3, atol=1e-6)
    assert state.brownian is None


@pytest.mark.parametrize(("name", "fine"), [("ddim", "unipc_3"), ("sddim", "dpmpp_2m_sde")])
def test_the_fine_schedule_itself_has_no_error(name: str, fine: str) -> None:
    noises = references(name, "sigma_min")
    errors = squared_errors(SOLVERS[fine], LAW.denoise, log_grid(20.0, 0.02, 64)[None], noises)
    assert errors == pytest.approx(0, abs=1e-24)
    clean = LAW.denoise(noises.reference, torch.full((6,), 0.02, dtype=torch.float64))
    torch.testing.assert_close(references(name).reference, clean, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", FIXED)
def test_errors_vanish_as_the_steps_get_finer(name: str) -> None:
    """Stochastic samplers too: both ends are driven by one Brownian path."""
    noises = references(name, points=257)
    means = [squared_errors(SOLVERS[name], LAW.denoise, np.append(log_grid(20.0, 0.02, n), 0.0)[None], noises).mean() for n in (8, 32, 128)]
    assert means[0] > 4 * means[1] > 16 * means[2]


def test_errors_are_squared_distances_to_the_reference_for_each_schedule_and_noise() -> None:
    noises = references("dpmpp_2m", law=plane())
    table = np.array([[20.0, 3.0, 0.5, 0.0], [20.0, 5.0, 0.2, 0.0]])
    received = deviations(SOLVERS["dpmpp_2m"], plane().denoise, table, noises)
    assert received.shape == (2, 6, 2)
    for row, vectors in zip(table, received, strict=True):
        samples = sample(SOLVERS["dpmpp_2m"], plane().denoise, row, noises.noise)
        torch.testing.assert_close(vectors, samples - noises.reference)
    expected = np.square(received.numpy()).sum(axis=2)
    assert squared_errors(SOLVERS["dpmpp_2m"], plane().denoise, table, noises) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["dpmpp_2m", "dpmpp_2m_sde"])
def test_a_part_has_the_errors_of_its_noises(name: str) -> None:
    noises, levels = references(name), np.array([[20.0, 3.0, 0.5, 0.0]])
    whole = squared_errors(SOLVERS[name], LAW.denoise, levels, noises)
    part = noises.part(2, 5)
    assert len(part) == 3
    assert squared_errors(SOLVERS[name], LAW.denoise, levels, part) == pytest.approx(whole[:, 2:5], rel=1e-12)


@pytest.mark.parametrize("name", ["dpmpp_2m", "dpmpp_2m_sde"])
def test_joined_noises_have_the_errors_of_both(name: str) -> None:
    whole, levels = references(name, n=10), np.array([[20.0, 3.0, 0.5, 0.0]])
    first, last = whole.part(0, 2), whole.part(6, 10)
    both = [squared_errors(SOLVERS[name], LAW.denoise, levels, part) for part in (first, last)]
    received = squared_errors(SOLVERS[name], LAW.denoise, levels, first.joined(last))
    assert received == pytest.approx(np.concatenate(both, axis=1), rel=1e-12)
    assert first.joined(last).indices == (0, 1, 6, 7, 8, 9)


def test_training_validation_and_report_see_different_noises() -> None:
    noises = [references("ddim", stream=stream).noise for stream in Stream if stream is not Stream.KLUB]
    flat = torch.stack(noises).flatten()
    assert len(flat.unique()) == len(flat)


def test_the_reference_costs_one_evaluation_a_level_and_noise() -> None:
    denoise = evaluator(LAW)
    levels = log_grid(20.0, 0.02, 40)
    solve_reference(SOLVERS["sddim"], denoise, (5,), levels=levels, terminal="zero", indices=range(3), seed=0, stream=Stream.VALIDATION)
    assert denoise.evaluations == 120


@pytest.mark.parametrize(("name", "terminal"), [("ddim", "sigma_min"), ("ddim", "zero"), ("dpmpp_2m", "zero")])
def test_the_estimated_error_of_a_reference_is_that_to_the_exact_flow_to_a_factor(name: str, terminal: str) -> None:
    """Never below a fifth of it: the rule takes second order for granted, the method has fourth, so it errs upwards."""
    for intervals in (64, 128):
        levels = reference_grid(20.0, 0.02, intervals)
        found = solve_reference(
            SOLVERS[name], LAW.denoise, LAW.shape, levels=levels, terminal=terminal, indices=range(16), seed=0, stream=Stream.REPORT
        )
        exact = LAW.flow(20.0 * found.noise, 20.0, 0.02)
        if terminal == "zero":
            exact = LAW.denoise(exact, torch.full((16,), 0.02, dtype=torch.float64))
        true = (found.reference - exact).square().sum(1).mean().item()
        stated = reference_errors(SOLVERS[name], LAW.denoise, found, terminal).mean()
        assert 0.2 < stated / true < 100


def test_the_estimated_error_of_an_sde_reference_is_that_to_a_much_finer_one_to_a_factor() -> None:
    law, solver = plane(), SOLVERS["sddim"]
    asked = {"terminal": "zero", "indices": range(48), "seed": 0, "stream": Stream.REPORT}
    found = solve_reference(solver, law.denoise, law.shape, levels=reference_grid(20.0, 0.05, 64), **asked)
    path = np.append(reference_grid(20.0, 0.05, 256), 0.0)  # all levels on which its Brownian paths were drawn
    finer = sample(SOLVERS["dpmpp_2m_sde"], law.denoise, path, found.noise, brownian=found.brownian)
    true = (found.reference - finer).square().sum(1).mean().item()
    assert 0.2 < reference_errors(solver, law.denoise, found, "zero").mean() / true < 5


def test_the_error_of_a_reference_is_a_ninth_of_its_distance_to_that_of_every_other_level() -> None:
    levels = reference_grid(20.0, 0.02, 32)
    asked = {"terminal": "zero", "indices": range(5), "seed": 0, "stream": Stream.REPORT}
    fine, coarse = (solve_reference(SOLVERS["ddim"], LAW.denoise, LAW.shape, levels=grid, **asked) for grid in (levels, levels[::2]))
    expected = (fine.reference - coarse.reference).square().sum(1) / 9
    assert reference_errors(SOLVERS["ddim"], LAW.denoise, fine, "zero") == pytest.approx(expected.numpy(), rel=1e-12)


def test_the_reference_of_an_ode_is_of_fourth_order() -> None:
    law = spectrum(sigma_min=0.05, sigma_max=1000.0)
    errors = []
    for intervals in (256, 512):
        levels = reference_grid(1000.0, 0.05, intervals)
        found = solve_reference(
            SOLVERS["ddim"], law.denoise, law.shape, levels=levels, terminal="sigma_min", indices=range(4), seed=0, stream=Stream.REPORT
        )
        errors.append((found.reference - law.flow(1000.0 * found.noise, 1000.0, 0.05)).abs().max().item())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.3)


def test_kept_states_are_those_of_the_same_solution_and_asked_by_level() -> None:
    law, levels = plane(), reference_grid(20.0, 0.05, 24)
    asked = {"levels": levels, "terminal": "zero", "indices": range(5), "seed": 0, "stream": Stream.TRAINING}
    kept, bare = (solve_reference(SOLVERS["ddim"], law.denoise, law.shape, **asked, keep_states=keep) for keep in (True, False))
    torch.testing.assert_close(kept.reference, bare.reference, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(kept.state(20.0), 20.0 * kept.noise)
    reached = sample(SOLVERS["unipc_3"], law.denoise, levels[:10], kept.noise)
    # A sampler ends uncorrected where the next step of the reference corrects its state.
    torch.testing.assert_close(kept.state(float(levels[9])), reached, rtol=0.02, atol=0.02)
    assert torch.equal(kept.part(1, 3).state(float(levels[7])), kept.state(float(levels[7]))[1:3])
    assert torch.equal(kept.joined(kept.part(1, 3)).state(float(levels[7]))[5:], kept.state(float(levels[7]))[1:3])
    with pytest.raises(ValueError, match=r"received level 3\.3; expected one of the 25 levels of a reference that kept its states"):
        kept.state(3.3)
    with pytest.raises(ValueError, match="that kept its states"):
        bare.state(20.0)
