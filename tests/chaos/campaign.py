"""A campaign: faults strike a fleet under traffic; then the same requests are asked of a fleet that nothing disturbs."""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.audit import audit
from tests.chaos.faults import AT_COMMIT, FAULTS
from tests.chaos.fleet import Fleet
from tests.chaos.proxy import Link
from tests.chaos.traffic import Ledger, Traffic, requests

SHARD_MEASURED = ("shard kept", "shard measured in vain")
"""What a worker logs of a shard that it has measured to the end."""

_POLL_SECONDS = 0.05
_AT_ONCE = 4
_SETTLE_SECONDS = 180.0


@dataclass(frozen=True)
class Plan:
    """What a campaign is.

    Attributes:
        seed: of the faults and the traffic.
        faults: number of faults.
        gap: mean time between two of them, in seconds.
        services: number of services.
        workers: number of workers.
        clients: number of clients.
        module: what a worker runs.
    """

    seed: int
    faults: int
    gap: float
    services: int = 2
    workers: int = 3
    clients: int = 6
    module: str = "worker"


@dataclass
class Report:
    """What a campaign has found.

    Attributes:
        struck: number of faults by kind.
        ledger: what the clients were told.
        half: what is half there, or was served so.
        differing: jobs that were answered otherwise than undisturbed.
        shards: shards that were measured to the end.
        twice: those of them that another had measured to the end, too.
        seconds: how long it took, and the undisturbed run.
    """

    struck: Counter[str]
    ledger: Ledger
    half: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    shards: int = 0
    twice: int = 0
    seconds: tuple[float, float] = (0.0, 0.0)

    @property
    def good(self) -> bool:
        """Whether nothing was lost, half-written or different."""
        return not (self.ledger.lost or self.ledger.broken or self.half or self.differing)


def run(plan: Plan, folder: Path, say: Callable[[str], None]) -> Report:
    """Run a campaign.

    Args:
        plan: what it is.
        folder: a new folder for the data and the logs.
        say: told what happens.
    """
    began = time.monotonic()
    report = _disturb(plan, folder / "disturbed", say)
    middle = time.monotonic()
    say(f"asking the same of a fleet that nothing disturbs: {len(report.ledger.accepted)} requests")
    expected = _undisturbed(plan, folder / "undisturbed", report.ledger)
    for job_id, body in report.ledger.bodies.items():
        if body != expected.bodies.get(job_id):
            report.differing.append(f"job {job_id} was answered otherwise than undisturbed")
    report.seconds = (middle - began, time.monotonic() - middle)
    return report


def _disturb(plan: Plan, folder: Path, say: Callable[[str], None]) -> Report:
    fleet = Fleet(folder, services=plan.services, workers=plan.workers, module=plan.module)
    try:
        fleet.start()
        traffic = Traffic(fleet.urls, requests(plan.seed), clients=plan.clients, seed=plan.seed)
        traffic.start()
        struck = _strike(plan, fleet, say)
        traffic.end(seconds=_SETTLE_SECONDS)
        say("no more faults; waiting for what was accepted")
        while not traffic.done:
            fleet.tend()
            time.sleep(_POLL_SECONDS)
        report = Report(struck, traffic.ledger, half=[*traffic.ledger.half])
        report.half += _left(fleet)
        measured = [entry for worker in fleet.workers for entry in fleet.log(worker) if entry["event"] in SHARD_MEASURED]
        report.shards = len(measured)
        report.twice = len(measured) - len({(entry["profile"], entry["shard"]) for entry in measured})
    finally:
        fleet.stop()
    return report


def _left(fleet: Fleet) -> list[str]:
    """What is half there when the reaper has had its time."""
    end = time.monotonic() + 30
    while True:
        fleet.tend()
        with fleet.store() as store:
            left = list(audit(store))
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.5)


def _strike(plan: Plan, fleet: Fleet, say: Callable[[str], None]) -> Counter[str]:
    rng = random.Random(plan.seed)
    kinds = [*FAULTS, *AT_COMMIT]
    struck: list[str] = []
    undo: list[tuple[float, str, Callable[[], None]]] = []
    following, began = time.monotonic() + 2.0, time.monotonic()
    deck: list[str] = []
    while len(struck) < plan.faults or undo:
        now = time.monotonic()
        for due in [each for each in undo if each[0] <= now]:
            undo.remove(due)
            due[2]()
        fleet.tend()
        if len(struck) < plan.faults and now >= following and len(undo) < _AT_ONCE:
            following = now + rng.expovariate(1 / plan.gap)
            # Every kind once, in random order, before any comes again.
            deck = deck or rng.sample(kinds, len(kinds))
            kind = deck.pop()
            if kind in FAULTS:
                effect = FAULTS[kind](fleet, rng)
                if effect is not None:
                    struck.append(kind)
                    undo.append((now + effect.seconds, kind, effect.undo))
                    say(f"{now - began:6.1f} s  {len(struck):3d}  {kind}" + (f", {effect.seconds:.1f} s" if effect.seconds else ""))
            else:
                _arm(fleet, kind, struck, lambda text, at=began: say(f"{time.monotonic() - at:6.1f} s       {text}"))
        time.sleep(_POLL_SECONDS)
    fleet.network.do(lambda: [setattr(proxy, "at_commit", None) for proxy in fleet.proxies.values()])
    return Counter(struck)


def _arm(fleet: Fleet, kind: str, struck: list[str], say: Callable[[str], None]) -> None:
    """Has a fault strike in the next final write of any worker."""

    def strike(worker: str) -> Callable[[Link], None]:
        act = AT_COMMIT[kind](fleet, worker)

        def at_commit(link: Link) -> None:
            for proxy in fleet.proxies.values():
                proxy.at_commit = None
            act(link)
            struck.append(kind)
            say(kind)

        return at_commit

    def arm() -> None:
        for worker in fleet.workers:
            fleet.proxies[worker].at_commit = strike(worker)

    fleet.network.do(arm)


def _undisturbed(plan: Plan, folder: Path, asked: Ledger) -> Ledger:
    fleet = Fleet(folder, services=1, workers=2, module=plan.module)
    try:
        fleet.start()
        traffic = Traffic(fleet.urls, iter(asked.accepted.values()), clients=plan.clients, seed=plan.seed)
        traffic.deadline = time.monotonic() + 600
        traffic.start()
        while any(thread.is_alive() for thread in traffic.clients):
            fleet.tend()
            time.sleep(_POLL_SECONDS)
        traffic.end(seconds=_SETTLE_SECONDS)
        return traffic.ledger
    finally:
        fleet.stop()
