"""Damaged values: what is stored may have been cut off, edited by hand, or written by a program that is not ours.

One that is asked for is an error which names it and says how to repair it. One among many is left out, told once and counted: it must
not make a whole list unreadable.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from redis.exceptions import ResponseError

from ays_client.contract import JobState, Priority
from ays_store import keys

_TOLD_MAX = 1000
_WRONG_TYPE = "WRONGTYPE"
_OF_VALUES = (_WRONG_TYPE, "attempt to ", "bad argument", "not an integer", "not a valid float", "must be strings or integers")
_ID_MAX = 100

_TYPES = {
    **dict.fromkeys((keys.JOBS, keys.LEASES, keys.WORKERS, keys.WAITING, keys.MODEL_INDEX, keys.DELIVERIES), "zset"),
    **dict.fromkeys((keys.COUNTERS, keys.TURNS, keys.MODELS, keys.MODEL_SOURCES, keys.FINGERPRINTS), "hash"),
    **{keys.jobs_in(state): "zset" for state in JobState},
    **{keys.waiting_as(priority): "zset" for priority in Priority},
}
"""What scripts read at every job and worker."""

_log = logging.getLogger(__name__)
_told: set[str] = set()
_left_out: Counter[str] = Counter()

Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True)
class Place:
    """Where a value is.

    Attributes:
        key: its key.
        field: its field, where the key is a hash.
        again: what writes it anew, a clause; '' where nothing does.
    """

    key: str
    field: str | None = None
    again: str = ""

    @property
    def name(self) -> str:
        """As messages call it."""
        return self.key if self.field is None else f"{self.key} [{self.field[:80]}]"

    @property
    def kind(self) -> str:
        """The kind of key, one of a few."""
        return self.key.removeprefix(keys.PREFIX).partition(":")[0] if self.key.startswith(keys.PREFIX) else "keys"

    @property
    def fix(self) -> str:
        """How to repair it."""
        if self.key.endswith("*"):
            return self.again
        command = f"DEL {self.key}" if self.field is None else f"HDEL {self.key} {self.field[:80]}"
        return f"{self.again}; or remove it: redis-cli {command}" if self.again else f"remove it: redis-cli {command}"


class DamagedError(ResponseError):
    """A stored value is not what it should be; so is, for whoever handles errors of Redis, what it means.

    Attributes:
        place: where it is.
        received: what is wrong with it; never the value itself.
        expected: what it should be.
    """

    def __init__(self, place: Place, *, received: str, expected: str) -> None:
        super().__init__(f"{place.name} in Redis is damaged: received {received}; expected {expected}; {place.fix}")
        self.place, self.received, self.expected = place, received, expected


def parsed(kind: type[Body], raw: bytes | str, place: Place) -> Body:
    """Reads a stored body.

    Args:
        kind: What it should be.
        raw: Its JSON.
        place: Where it is.

    Raises:
        DamagedError: It is something else.
    """
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part)[:40] for part in mistake["loc"][:4])
        received = f"{where}: {mistake['msg'][:120]}" if where else str(mistake["msg"])[:120]
    except (ValueError, OverflowError, RecursionError) as error:
        received = type(error).__name__
    raise DamagedError(place, received=received, expected=f"the JSON of a {kind.__name__}")


@contextmanager
def reading(place: Place) -> Iterator[None]:
    """Names the key when a command finds that it has another type than the command is for.

    Raises:
        DamagedError: It has.
    """
    try:
        yield
    except DamagedError:
        raise
    except ResponseError as error:
        if _WRONG_TYPE not in str(error):
            raise
        raise DamagedError(place, received="a key of another type", expected="what docs/redis.md says") from error


def leave_out(error: DamagedError) -> None:
    """Tells of a damaged value that is left out, once, and counts it."""
    _left_out[error.place.kind] += 1
    if error.place.name not in _told and len(_told) < _TOLD_MAX:
        _told.add(error.place.name)
        _log.warning("left out: %s", error)


@contextmanager
def leaving_out(told: Callable[[DamagedError], None] = leave_out) -> Iterator[None]:
    """Goes on after a damaged value, of which somebody is told.

    Args:
        told: By default it is logged, once, and counted.
    """
    try:
        yield
    except DamagedError as error:
        told(error)


def left_out() -> Mapping[str, int]:
    """How many damaged values this process has left out, each time counted, by kind of key."""
    return dict(_left_out)


def of_script(error: ResponseError, redis: Any, about: Sequence[object]) -> DamagedError | None:
    """The damage that a script has stumbled over; None for any other refusal.

    Args:
        error: What Redis said.
        redis: The client, to look for the key that has the wrong type.
        about: The arguments of the script: ids that are among them are looked at, too.
    """
    # Refusals (full, a replica, forbidden) have types of their own.
    if type(error) is not ResponseError or not any(words in str(error) for words in _OF_VALUES):
        return None
    expected = {**_TYPES, **{keys.job(str(word)): "hash" for word in about[:2] if isinstance(word, str) and len(word) < _ID_MAX}}
    with redis.pipeline(transaction=False) as pipeline:
        for key in expected:
            pipeline.type(key)
        found = dict(zip(expected, pipeline.execute(), strict=True))
    wrong = next((key for key, kind in expected.items() if found[key] not in {b"none", kind.encode()}), None)
    if wrong is not None:
        return DamagedError(Place(wrong), received=f"a {found[wrong].decode()}", expected=f"a {expected[wrong]}")
    place = Place(f"{keys.PREFIX}*", again="compare the types and forms of the keys with docs/redis.md")
    return DamagedError(place, received=f"a value that a script cannot work with ({str(error)[:120]})", expected="what docs/redis.md says")
