"""A denoiser learnt along given noises: right where it has looked, near it where it has not, and silent about what costs nothing."""

import numpy as np
import pytest
import torch

from tests.ays.problems import evaluator, plane, spectrum
from worker.ays.denoise import Denoiser, Evaluator
from worker.ays.least_squares import shaken
from worker.ays.noise import Array
from worker.ays.paths import Stream
from worker.ays.profile.profile import log_grid
from worker.ays.solvers import SOLVERS, Denoise
from worker.ays.surrogate import Surrogate
from worker.ays.validate import HeldOut, deviations, hold_out, squared_errors

SOLVER = SOLVERS["dpmpp_2m"]


def fine(law: Denoiser, denoise: Denoise, *, n: int = 16, terminal: str = "zero") -> HeldOut:
    levels = log_grid(law.sigma_max, law.sigma_min, 48)
    drawn = {"indices": range(n), "seed": 0, "stream": Stream.SEARCH}
    return hold_out(SOLVER, denoise, law.shape, levels=levels, terminal=terminal, **drawn, keep_path=True)


def around(law: Denoiser, count: int, part: float, steps: int = 8) -> Array:
    levels = np.append(log_grid(law.sigma_max, law.sigma_min, steps + 1)[:-1], 0.0)
    return shaken(SOLVER, levels, count=count, part=part, sigma_max=law.sigma_max, sigma_min=law.sigma_min)


def taught(law: Denoiser, schedules: Array, **kw) -> tuple[Surrogate, HeldOut]:
    search = fine(law, law.denoise, **kw)
    found = Surrogate(search)
    deviations(SOLVER, found.watching(law.denoise), schedules, search)
    found.fit()
    return found, search


@pytest.mark.parametrize("law", [plane(), spectrum()], ids=["mixture", "gaussian"])
@pytest.mark.parametrize("terminal", ["zero", "sigma_min"])
def test_what_it_has_seen_it_knows(law: Denoiser, terminal: str) -> None:
    schedules = around(law, 3, 0.3)
    known, search = taught(law, schedules, terminal=terminal)
    assert 16 < len(known) <= 24  # what begins alike is evaluated once
    true, found = (squared_errors(SOLVER, each, schedules, noises) for each, noises in ((law.denoise, search), (known, known.noises)))
    assert found == pytest.approx(true, rel=0.01, abs=1e-9)


def test_what_it_has_not_seen_it_foretells_far_better_than_a_jacobian() -> None:
    """From three schedules 0.3 of a gap away to those up to 0.4 away in other directions: the mixture's samples bend within that."""
    law, steps = plane(), 8
    known, search = taught(law, around(law, 3, 0.3))
    middle = np.append(log_grid(law.sigma_max, law.sigma_min, steps + 1)[:-1], 0.0)
    generator = np.random.default_rng(0)
    factors = np.exp(0.4 * np.log(middle[0] / middle[1]) * generator.uniform(-1, 1, (12, steps)))
    factors[:, 0] = np.minimum(factors[:, 0], 1.0)
    factors[:, -1] = np.maximum(factors[:, -1], 1.0)
    unseen = np.column_stack([middle[:-1] * factors, np.zeros(12)])
    true = deviations(SOLVER, law.denoise, unseen, search)
    foretold = deviations(SOLVER, known, unseen, known.noises)
    difference, base = 1e-3, deviations(SOLVER, law.denoise, middle[None], search)
    moved = np.repeat(middle[None], steps, axis=0)
    moved[:, :-1] *= np.exp(difference * np.eye(steps))
    jacobian = (deviations(SOLVER, law.denoise, moved, search) - base) / difference
    linear = base + torch.einsum("sf,fnd->snd", torch.from_numpy(np.log(factors)), jacobian)

    def missed(found: torch.Tensor) -> float:
        return float((found - true).square().sum() / (base - true).square().sum())

    assert missed(foretold) < 0.05
    assert missed(foretold) < missed(linear) / 2


def test_a_linear_denoiser_is_learnt_from_two_schedules() -> None:
    law = spectrum()
    known, search = taught(law, around(law, 2, 0.3))
    unseen = around(law, 4, 0.15)[2:]
    true, found = (squared_errors(SOLVER, each, unseen, noises) for each, noises in ((law.denoise, search), (known, known.noises)))
    assert found.mean() == pytest.approx(true.mean(), rel=0.05)


def test_along_the_fine_solutions_it_knows_everything_before_it_has_learnt() -> None:
    law = plane()
    search = fine(law, law.denoise)
    known = Surrogate(search)
    assert len(known) == 0
    assert search.path is not None
    at = 20
    sigma = torch.full((len(search),), float(search.path.levels[at]), dtype=torch.float64)
    assert torch.allclose(known(search.path.states[at], sigma), search.path.estimates[at], atol=1e-12)


def test_in_the_span_of_large_samples_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    law = spectrum(120)
    schedules, unseen = around(law, 2, 0.3), around(law, 4, 0.2)[2:]
    whole, _ = taught(law, schedules, n=6)
    monkeypatch.setattr("worker.ays.span.WHOLE", 0)
    spanned, _ = taught(law, schedules, n=6)
    assert spanned.noises.noise.shape[1] != whole.noises.noise.shape[1]
    errors = [squared_errors(SOLVER, each, unseen, each.noises) for each in (whole, spanned)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-6)


def test_it_asks_the_model_for_nothing() -> None:
    law = plane()
    denoise = evaluator(law)
    search = fine(law, denoise, n=4)
    known = Surrogate(search)
    deviations(SOLVER, known.watching(denoise), around(law, 2, 0.3), search)
    spent = denoise.evaluations
    known.fit()
    squared_errors(SOLVER, known, around(law, 4, 0.1), known.noises)
    assert denoise.evaluations == spent


def test_each_noise_is_learnt_under_its_own_condition() -> None:
    """A denoiser that answers with its condition: noise i has condition i mod 3."""

    class Told:
        shape, sigma_min, sigma_max, dtype, device, conditions = (2,), 0.05, 20.0, torch.float64, torch.device("cpu"), 3

        def denoise(self, x: torch.Tensor, sigma: torch.Tensor, index: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002
            assert index is not None
            return index[:, None].double().expand_as(x)

    denoise = Evaluator(Told(), batch=64)
    search = fine(Told(), denoise, n=7)
    known = Surrogate(search)
    deviations(SOLVER, known.watching(denoise), around(Told(), 1, 0.3), search)
    known.fit()
    top = float(around(Told(), 1, 0.3)[0, 0])
    found = known(top * search.noise, torch.full((7,), top, dtype=torch.float64))
    assert found[:, 0] == pytest.approx(torch.arange(7) % 3, abs=1e-3)


def test_noises_without_their_paths_are_refused_in_words() -> None:
    law = plane()
    levels = log_grid(law.sigma_max, law.sigma_min, 16)
    bare = hold_out(SOLVER, law.denoise, law.shape, levels=levels, terminal="zero", indices=range(2), seed=0, stream=Stream.SEARCH)
    with pytest.raises(ValueError, match="received 2 noises with the paths of 0 fine solutions; expected all; draw them"):
        Surrogate(bare)
    some = fine(law, law.denoise, n=3).joined(bare)
    with pytest.raises(ValueError, match="received 5 noises with the paths of 3"):
        Surrogate(some)
    assert len(Surrogate(some.part(0, 3)).noises) == 3
