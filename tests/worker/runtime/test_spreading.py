"""Real workers and a real pipeline: what comes out does not depend on how many there are."""

from ays_client.contract import Effort, JobRequest, JobState, identity
from tests.store.bodies import untimed


def test_one_worker_and_two_give_the_same_schedule_bit_for_bit(start_real, ask, reaches, store, forget):
    # Four shards.
    request = JobRequest(model="sleeping", nfe=8, solver="dpmpp_2m_sde", grid=24, paths=64, effort=Effort.FAST)

    def answer():
        """What is stored for the request; nothing of it stays."""
        job = reaches(ask(request), JobState.SUCCEEDED, seconds=60)
        profile, schedule = store.results.profile(identity(request.variant)), store.results.schedule(job.schedule_id)
        table = store.results.cells(profile.id)
        forget()
        return schedule, table, untimed(profile)

    first = start_real(seconds=0.01, module="tests.worker.small")
    alone = answer()
    second = start_real(seconds=0.01, module="tests.worker.small")
    together = answer()
    assert together == alone
    assert alone[2].paths == 64
    assert first.said("shard kept") or second.said("shard kept"), "two have worked at it"
    assert not first.said("shard given back")
