"""The result of a campaign as text."""

from ays_client.contract import JobState
from tests.chaos.campaign import Report


def table(report: Report) -> str:
    """Faults by kind, then the counts that matter, then whatever went wrong."""
    ledger = report.ledger
    ended = [job.state for job in ledger.jobs.values()]
    rows: list[tuple[str, object]] = [*sorted(report.struck.items()), ("faults", report.struck.total()), ("", "")]
    rows += [
        ("jobs accepted", len(ledger.accepted)),
        ("answered: succeeded", ended.count(JobState.SUCCEEDED)),
        ("answered: failed with a reason", ended.count(JobState.FAILED)),
        ("further tries of jobs", sum(max(0, job.attempts - 1) for job in ledger.jobs.values())),
        ("submissions refused and repeated", ledger.refused),
        ("lookups answered", ledger.reads),
        ("lookups not answered", ledger.unread),
        ("shards measured", report.shards),
        ("shards measured twice", report.twice),
        ("lost", len(ledger.lost)),
        ("half-written", len(report.half)),
        ("other than undisturbed", len(report.differing)),
        ("seconds, disturbed and undisturbed", " + ".join(f"{seconds:.0f}" for seconds in report.seconds)),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value:>12}".rstrip() for name, value in rows]
    reasons = sorted({str(job.error) for job in ledger.jobs.values() if job.error})
    return "\n".join([*lines, *(f"failed: {reason}" for reason in reasons), *ledger.lost, *ledger.broken, *report.half, *report.differing])
