"""A short campaign: every kind of fault that strikes at once, once. `make chaos` runs the long one."""

import json

from ays_client.contract import identity
from tests.chaos.campaign import Plan, run
from tests.chaos.table import table
from tests.chaos.traffic import whole
from tests.store.bodies import schedule

FAULTS = 8


def test_nothing_is_lost_half_written_or_other_than_undisturbed(tmp_path):
    plan = Plan(seed=0, faults=FAULTS, gap=0.5, services=1, workers=2, clients=4, module="tests.worker.small")
    report = run(plan, tmp_path, print)
    assert report.struck.total() >= FAULTS
    assert report.good, table(report)
    assert report.ledger.accepted
    assert set(report.ledger.jobs) == set(report.ledger.accepted)


def test_a_schedule_that_is_not_whole_is_noticed():
    """The campaign's own measure of half-written."""
    body = schedule()
    content = body.model_copy(update={"id": "", "formats": {}})
    right = content.model_copy(update={"id": identity(content)}).model_dump_json().encode()
    assert whole(right)
    assert whole(right, identity(content))
    assert not whole(right, "0" * 32)
    assert not whole(right[:-2])
    changed = json.loads(right)
    changed["sigmas"][1] *= 1.01
    assert not whole(json.dumps(changed).encode())
