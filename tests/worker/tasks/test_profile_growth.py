"""A profile grows until the requested schedule is stable, resumes from its shards, and says where it stands."""

from collections.abc import Iterator

import numpy as np
import pytest

from ays_client.contract import Effort, JobRequest, ProfileInfo, Solver
from tests.worker.tasks.pipelines import Memory, small_table
from worker.ays.search.stability import STABLE
from worker.models.registry import Registry
from worker.tasks.measure import FEWEST_PATHS, MOST_PATHS
from worker.tasks.outcome import Outcome
from worker.tasks.pipeline import optimize
from worker.tasks.profile_body import restore


def request(**fields: object) -> JobRequest:
    return JobRequest(**{"model": "mixture", "nfe": 5, "solver": Solver.DPMPP_2M_SDE, "effort": Effort.FAST, "grid": 32} | fields)


@pytest.fixture(scope="module", autouse=True)
def _small_table() -> Iterator[None]:
    with small_table():
        yield


@pytest.fixture(scope="module")
def mixture():
    return Registry(None).load("mixture")


@pytest.fixture(scope="module")
def grown(mixture) -> tuple[Outcome, Memory]:
    """The answer to a first request, and where its shards are."""
    host = Memory()
    return optimize(request(), mixture, host), host


def test_a_profile_grows_until_the_schedule_is_stable(grown) -> None:
    found, shelf = grown
    provenance = found.requested.provenance
    assert found.profile is not None
    assert FEWEST_PATHS < found.profile.paths <= MOST_PATHS
    assert len(shelf.kept) == found.profile.paths // FEWEST_PATHS
    assert provenance.stable == (provenance.regret <= STABLE)
    assert provenance.stable or found.profile.paths == MOST_PATHS
    assert 0 < provenance.cost.standard_error < provenance.cost.mean
    assert found.profile.evaluations == 2 * 32 * found.profile.paths


def test_a_fixed_number_of_paths_stays_and_says_that_it_is_not_enough(mixture) -> None:
    found = optimize(request(paths=16), mixture, Memory())
    assert found.profile.paths == 16
    assert found.requested.provenance.stable is False


def test_a_growing_profile_goes_on_from_its_shards(mixture, grown) -> None:
    first, whole = grown
    resumed = Memory(kept={key: shard for key, shard in whole.kept.items() if key in {"0-16", "16-32"}})
    second = optimize(request(), mixture, resumed)
    assert second.requested.id == first.requested.id
    assert second.profile.moments == first.profile.moments


def test_a_stored_profile_that_is_not_enough_for_a_later_request_grows(mixture, grown) -> None:
    first, _ = grown
    easy = optimize(request(solver=Solver.EULER), mixture, Memory())
    assert easy.profile.paths == FEWEST_PATHS
    later = optimize(request(), mixture, Memory(stored=easy.profile))
    assert later.requested.id == first.requested.id
    assert (later.profile.paths, later.profile.moments) == (first.profile.paths, first.profile.moments)
    assert len(later.schedules) == len(first.schedules), "the whole table is made of it"


def test_a_stored_profile_of_a_fixed_number_of_paths_stays(mixture) -> None:
    stored = optimize(request(paths=16), mixture, Memory()).profile
    later = optimize(request(paths=16, nfe=6), mixture, Memory(stored=stored))
    assert later.profile is None
    assert later.requested.provenance.stable is False


def test_a_stored_profile_still_knows_the_error_of_a_cost(mixture, grown) -> None:
    first, whole = grown
    shelf = Memory(kept=dict(whole.kept), stored=ProfileInfo.model_validate_json(first.profile.model_dump_json()))
    again = optimize(request(nfe=6), mixture, shelf)
    assert again.profile is None
    assert again.requested.provenance.cost.standard_error > 0
    assert again.requested.provenance.regret >= 0
    restored = restore(shelf.stored, "forward")
    assert restored.groups.shape == (4, 33, 33)
    assert np.allclose(restored.groups.mean(axis=0)[:-1, :-1], restored.moments, rtol=1e-5)
