"""Tables: which there are of a model, and with which weights each was made."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from ays_client.contract import Method, Target, Variant, identity
from ays_store import keys
from ays_store.damage import DamagedError, Place, leave_out, leaving_out, parsed
from ays_store.records import text

POSTED_AGAIN = "POST the request to /v1/jobs again, whose job makes it anew"
"""How a damaged result is put right."""


def table_of(target: Target) -> str:
    """Id of the table that a target is a cell of: the profile's id, or for another method one that begins with it."""
    profile_id = identity(target.variant)
    return profile_id if target.method is Method.PROFILE else f"{profile_id}:{target.method.value}"


class TableEntry(BaseModel):
    """What the index of a model's tables holds of one."""

    variant: Variant
    fingerprint: str
    created_at: float

    def of(self, present: bytes | None) -> bool:
        """Whether it was measured with the present weights, as far as they are known."""
        return present is None or self.fingerprint == text(present)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A measured variant of a model."""

    profile_id: str
    variant: Variant
    fingerprint: str
    created_at: float


def variants_from(model: str, stored: object, present: object) -> list[Measured]:
    """The measured variants of a model with its present weights, the default one first, then newest first; damaged entries are left out.

    Args:
        model: Its id.
        stored: The index of its tables, as Redis returned it.
        present: Its present weights, where they are known.
    """
    if not isinstance(stored, Mapping):
        leave_out(DamagedError(Place(keys.variants(model), again=POSTED_AGAIN), received="a key of another type", expected="a hash"))
        stored = {}
    default, found = identity(Variant(model=model)), []
    for field, raw in stored.items():
        table = text(field)
        with leaving_out():
            entry = parsed(TableEntry, raw, Place(keys.variants(model), table, again=POSTED_AGAIN))
            # The tables of the other methods have no profile.
            if entry.of(present if isinstance(present, bytes) else None) and table == identity(entry.variant):
                found.append(Measured(profile_id=table, **dict(entry)))
    return sorted(found, key=lambda measured: (measured.profile_id != default, -measured.created_at))
