"""The faults: what is done, to whom, and when it is undone."""

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.fleet import Fleet, send
from tests.chaos.proxy import Link, Proxy

Undo = Callable[[], None]


@dataclass(frozen=True)
class Struck:
    """A fault that is there.

    Attributes:
        seconds: when it is undone.
        undo: undoes it.
    """

    seconds: float = 0.0
    undo: Undo = lambda: None


Fault = Callable[[Fleet, random.Random], Struck | None]
"""Strikes; None when there was nothing to strike."""


def _signal(number: signal.Signals, whom: Callable[[Fleet, random.Random], int]) -> Fault:
    return lambda fleet, rng: Struck() if send(whom(fleet, rng), number) else None


def _stop(whom: Callable[[Fleet, random.Random], int], shortest: float, longest: float) -> Fault:
    def strike(fleet: Fleet, rng: random.Random) -> Struck | None:
        pid, seconds = whom(fleet, rng), rng.uniform(shortest, longest)
        return Struck(seconds, lambda: bool(send(pid, signal.SIGCONT)) and None) if send(pid, signal.SIGSTOP) else None

    return strike


def _computing(fleet: Fleet, rng: random.Random) -> int:
    return fleet.computing(rng.choice(fleet.workers))


def _supervisor(fleet: Fleet, rng: random.Random) -> int:
    return fleet.pid(rng.choice(fleet.workers))


def _service(fleet: Fleet, rng: random.Random) -> int:
    return fleet.pid(rng.choice(fleet.services))


def _redis(fleet: Fleet, rng: random.Random) -> int:
    del rng
    return fleet.pid("redis")


def _proxy(fleet: Fleet, rng: random.Random) -> Proxy:
    return fleet.proxies[rng.choice([*fleet.services, *fleet.workers])]


def _reset(fleet: Fleet, rng: random.Random) -> Struck:
    fleet.network.do(_proxy(fleet, rng).reset)
    return Struck()


def _slow(fleet: Fleet, rng: random.Random) -> Struck:
    proxy, delay = _proxy(fleet, rng), rng.uniform(0.02, 0.2)
    fleet.network.do(lambda: setattr(proxy, "delay", delay))
    return Struck(rng.uniform(1, 4), lambda: fleet.network.do(lambda: setattr(proxy, "delay", 0.0)))


def _time_out(fleet: Fleet, rng: random.Random) -> Struck:
    proxy = _proxy(fleet, rng)
    fleet.network.do(lambda: proxy.hole(black=True))
    return Struck(rng.uniform(1, 6), lambda: fleet.network.do(lambda: proxy.hole(black=False)))


def _refuse(fleet: Fleet, rng: random.Random) -> Struck:
    proxy = _proxy(fleet, rng)

    def begin() -> None:
        proxy.refusing = True
        proxy.reset()

    fleet.network.do(begin)
    return Struck(rng.uniform(0.5, 4), lambda: fleet.network.do(lambda: setattr(proxy, "refusing", False)))


def _fill_disk(fleet: Fleet, rng: random.Random) -> Struck:
    fleet.fill_disk()
    return Struck(rng.uniform(0.5, 3), fleet.free_disk)


FAULTS: dict[str, Fault] = {
    "worker killed": _signal(signal.SIGKILL, _computing),
    "worker's supervisor killed": _signal(signal.SIGKILL, _supervisor),
    "worker drained": _signal(signal.SIGTERM, _supervisor),
    "worker frozen": _stop(_computing, 1, 8),
    "service killed": _signal(signal.SIGKILL, _service),
    "service frozen": _stop(_service, 0.5, 3),
    "redis killed": _signal(signal.SIGKILL, _redis),
    "redis restarted": _signal(signal.SIGTERM, _redis),
    "redis frozen": _stop(_redis, 0.5, 4),
    "redis' disk full": _fill_disk,
    "connections reset": _reset,
    "network slow": _slow,
    "network times out": _time_out,
    "connections refused": _refuse,
}
"""What strikes at any moment."""


def _cut_reply(link: Link) -> None:
    link.cut_reply = True


AT_COMMIT: dict[str, Callable[[Fleet, str], Callable[[Link], None]]] = {
    "cut in a final write": lambda _fleet, _worker: Link.reset,
    "cut after a final write": lambda _fleet, _worker: _cut_reply,
    "worker killed in a final write": lambda fleet, worker: lambda _: bool(send(fleet.computing(worker), signal.SIGKILL)) and None,
    "redis killed in a final write": lambda fleet, _worker: lambda _: bool(send(fleet.pid("redis"), signal.SIGKILL)) and None,
}
"""What strikes in the middle of the next final write of a worker."""
