"""Answers of lookups in the memory of this process: looked up once, then sent as the bytes they are until Redis tells of a change.

A cache follows the changes of the store (`ays_store.changes`). An answer that depends on nothing never changes. Any other is current as
long as Redis was heard of within `FRESH_SECONDS`: what no message told of is never served unmarked for longer than that.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

FRESH_SECONDS = 2.0
"""An answer is served as current so long after it was last certain that Redis had told of all changes."""

_OVERHEAD_BYTES = 1024
"""About what an answer takes in memory beside its body."""

_LARGEST_SHARE = 100
"""An answer that takes more than one part of so many of the room is not kept."""

Headers = list[tuple[bytes, bytes]]


class Key(NamedTuple):
    """What an answer depends on in a request."""

    path: str
    query: bytes
    packed: bool


@dataclass(slots=True)
class Session:
    """The time between two losses of Redis: its changes are known without a gap.

    Attributes:
        certain_at: until then all changes have been told, in seconds of `time.monotonic`.
    """

    certain_at: float = -math.inf


@dataclass(frozen=True, slots=True)
class Answer:
    """A response to send again.

    Attributes:
        headers: its headers.
        brief: those that a 304 repeats.
        body: its body.
        etag: its strong tag, quotes included.
        depends: the keys in Redis that decide it; none: it never changes.
        route: the route that made it, for the metrics.
        used: id of the table or the schedule that it comes from.
        session: when it was made.
    """

    headers: Headers
    brief: Headers
    body: bytes
    etag: bytes
    depends: frozenset[str]
    route: object
    used: str
    session: Session

    @property
    def size(self) -> int:
        """About the bytes it takes."""
        return len(self.body) + _OVERHEAD_BYTES

    @property
    def age(self) -> float:
        """Seconds since it was last certain that it is current."""
        return time.monotonic() - self.session.certain_at


class Freshness(Enum):
    """What is known of a cached answer now."""

    CURRENT = auto()
    STALE = auto()
    """Redis is away: it may have changed since."""
    UNKNOWN = auto()
    """It may have changed, and Redis can be asked."""


class Cache:
    """Cached answers, bounded in number and bytes: the least recently used go first. A follower of `ays_store.changes`.

    Args:
        entries: most answers.
        size: most bytes of all of them together.
    """

    def __init__(self, *, entries: int, size: int) -> None:
        self._entries, self._size = entries, size
        self._answers: OrderedDict[Key, Answer] = OrderedDict()
        self._dependants: dict[str, set[Key]] = {}
        self._away = False
        self.session = Session()
        self.changes = 0
        """Counts changes: what was being looked up meanwhile may be outdated already, and is not kept."""
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: Key) -> Answer | None:
        """The answer to a request, however fresh."""
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    def freshness(self, answer: Answer) -> Freshness:
        """What is known of an answer now."""
        if not answer.depends or (answer.session is self.session and answer.age < FRESH_SECONDS):
            return Freshness.CURRENT
        return Freshness.STALE if self._away else Freshness.UNKNOWN

    def put(self, key: Key, answer: Answer) -> None:
        """Keep an answer, if it is not too large."""
        self._drop(key)
        if answer.size > self._size // _LARGEST_SHARE:
            return
        self._answers[key] = answer
        self.bytes += answer.size
        for name in answer.depends:
            self._dependants.setdefault(name, set()).add(key)
        while len(self._answers) > self._entries or self.bytes > self._size:
            self._drop(next(iter(self._answers)))

    def changed(self, names: Sequence[str]) -> None:
        """Drop what depends on some keys."""
        self.changes += 1
        for name in names:
            for key in list(self._dependants.get(name, ())):
                self._drop(key)

    def all_changed(self) -> None:
        """Drop everything."""
        self.changes += 1
        self._answers.clear()
        self._dependants.clear()
        self.bytes = 0

    def joined(self) -> None:
        """Begin a session: answers of earlier ones wait for the next request to be looked up again, or for Redis to be away."""
        self.changes += 1
        self.session = Session()

    def certain(self, at: float) -> None:
        """Note that all changes until a time of `time.monotonic` have been told."""
        self.session.certain_at = at
        self._away = False

    def cut_off(self, *, away: bool) -> None:
        """Note that changes are told no more, because Redis is away or for another reason."""
        self._away = away

    def _drop(self, key: Key) -> None:
        answer = self._answers.pop(key, None)
        if answer is None:
            return
        self.bytes -= answer.size
        for name in answer.depends:
            keys = self._dependants[name]
            keys.discard(key)
            if not keys:
                del self._dependants[name]
