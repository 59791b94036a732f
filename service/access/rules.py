"""Which request needs which scope. What is not named here is guarded: a new route cannot be forgotten."""

from ays_store.api_keys import Scope

_OPEN = frozenset({"/", "/docs", "/openapi.json", "/healthz", "/readyz"})
"""The page and the documentation, which hold no data and ask for a key themselves; and the probes, which have none to send."""

_OPEN_FOLDERS = ("/page/", "/docs/")

READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""


def scope_needed(method: str, path: str, *, open_metrics: bool = False) -> Scope | None:
    """The scope that a request needs; None: it is open to everybody.

    Args:
        method: HTTP method.
        path: path of the request.
        open_metrics: whether `/metrics` is open.
    """
    if path in _OPEN or path.startswith(_OPEN_FOLDERS) or (open_metrics and path == "/metrics"):
        return None
    if method in READING:
        return Scope.READ
    return Scope.ADMIN if method == "DELETE" else Scope.SUBMIT
