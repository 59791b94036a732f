"""Who makes a request."""

from dataclasses import dataclass

from ays_store.api_keys import Scope
from ays_store.origin import ANONYMOUS


@dataclass(frozen=True)
class Caller:
    """Who makes a request: `request.state.caller`.

    Attributes:
        id: public id of the API key, or `ANONYMOUS`. It may be logged, and it is what limits count by.
        scope: what the key is good for.
    """

    id: str
    scope: Scope

    @property
    def sees_only(self) -> str | None:
        """The owner whose jobs it may list and stop; None: those of everybody."""
        return None if self.scope is Scope.ADMIN else self.id


NOBODY = Caller(ANONYMOUS, Scope.ADMIN)
"""The caller where no key is asked for: on loopback, everybody is the operator."""

STRANGER = Caller(ANONYMOUS, Scope.READ)
"""The caller of what is open to everybody, where keys are asked for elsewhere."""
