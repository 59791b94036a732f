"""API keys: who may do what.

A key is `ays_{id}_{secret}`. Its id is public: it names the key in logs, limits and lists. Of its secret only the SHA-256 is stored.
A slow hash would protect nothing more: it is for passwords, which can be guessed, and 256 random bits cannot; and it would
cost every request milliseconds.

The records are under a name of their own, outside the prefix of everything else, so that Redis can forbid the service to write them.
"""

import hashlib
import re
import secrets
import time
from contextlib import suppress
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from redis import Redis
from redis.exceptions import ResponseError

from ays_store import keys
from ays_store.damage import Place, leaving_out, parsed, reading
from ays_store.records import text

_FORM = re.compile(r"ays_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_DIGITS = 15
_NAME = r"^[^\x00-\x1f\x7f]{1,100}$"


class Scope(StrEnum):
    """What a key is good for; each scope includes the ones before it."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"

    def includes(self, other: "Scope") -> bool:
        """Whether it is enough where the other one is needed."""
        return _ORDER[self] >= _ORDER[other]


_ORDER = {scope: place for place, scope in enumerate(Scope)}


class ApiKey(BaseModel):
    """What is known of a key.

    Attributes:
        id: its public part, 12 hex digits.
        name: what it is for, in words of its owner.
        scope: what it is good for.
        digest: SHA-256 of the whole key, 64 hex digits.
        created_at: seconds since 1970.
    """

    model_config = ConfigDict(frozen=True)

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    name: Annotated[str, Field(pattern=_NAME)]
    scope: Scope
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)]
    created_at: float

    def opened_by(self, secret: str) -> bool:
        """Whether this is the key, whole, as its owner sends it; takes as long for any wrong one."""
        return secrets.compare_digest(digest(secret), self.digest)


def id_of(secret: str) -> str | None:
    """The public part of a key; None for what has not the form of one.

    Args:
        secret: the whole key, as somebody has sent it.
    """
    found = _FORM.fullmatch(secret)
    return found[1] if found else None


def holds_key(words: str) -> bool:
    """Whether there is a key among these words, such as those of a URL."""
    return _FORM.search(words) is not None


def digest(secret: str) -> str:
    """What is stored of a key: its SHA-256, 64 hex digits."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


class ApiKeys:
    """The keys in Redis; safe to share between threads."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def create(self, name: str, scope: Scope) -> tuple[ApiKey, str]:
        """Makes a key.

        Args:
            name: What it is for, 1 to 100 characters.
            scope: What it is good for.

        Returns:
            Its record, and the whole key, which is known from now on only to whoever gets it.

        Raises:
            pydantic.ValidationError: If the name is empty, too long or more than a line.
        """
        key_id = secrets.token_hex(6)
        secret = f"ays_{key_id}_{secrets.token_urlsafe(32)}"
        key = ApiKey(id=key_id, name=name, scope=scope, digest=digest(secret), created_at=time.time())
        self._redis.hset(keys.API_KEYS, key_id, key.model_dump_json())
        return key, secret

    def get(self, key_id: str) -> ApiKey | None:
        """Returns the record of a key, and notes that it is in use; None when there is none, or it was revoked."""
        with reading(Place(keys.API_KEYS)):
            found = self._redis.hget(keys.API_KEYS, key_id)
        key = None if found is None else _record(key_id, text(found))
        if key is not None:
            # A full Redis, or a replica for the moment, must not shut out whoever only reads.
            with suppress(ResponseError):
                self._redis.hset(keys.API_KEYS_USED, key_id, int(time.time()))
        return key

    def list(self) -> list[tuple[ApiKey, float | None]]:
        """Returns all keys, the oldest first, each with the time of its last use (seconds since 1970), to within some seconds."""
        with reading(Place(keys.API_KEYS)):
            records = [_record(text(key_id), text(raw)) for key_id, raw in self._redis.hgetall(keys.API_KEYS).items()]
        with reading(Place(keys.API_KEYS_USED)):
            stored = self._redis.hgetall(keys.API_KEYS_USED)
        used = {text(key_id): float(seconds) for key_id, seconds in stored.items() if seconds.isdigit() and len(seconds) < _DIGITS}
        found = sorted((key for key in records if key is not None), key=lambda key: key.created_at)
        return [(key, used.get(key.id)) for key in found]

    def revoke(self, key_id: str) -> bool:
        """Forgets a key; returns whether there was one."""
        gone = bool(self._redis.hdel(keys.API_KEYS, key_id))
        self._redis.hdel(keys.API_KEYS_USED, key_id)
        return gone


def _record(key_id: str, stored: str) -> ApiKey | None:
    place = Place(keys.API_KEYS, key_id, again="make another key by `ays keys create`")
    # A damaged one opens nothing; nor does one that was copied from another key.
    with leaving_out():
        key = parsed(ApiKey, stored, place)
        return key if key.id == key_id else None
    return None
