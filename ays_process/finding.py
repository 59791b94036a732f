"""What a check of an installation finds: a verdict, what was seen, and how to put it right."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How good it is."""

    OK = "ok"
    WARN = "warn"
    """It works, and will not for long or not for everybody."""
    FAIL = "fail"
    """It does not work."""


@dataclass(frozen=True)
class Finding:
    """One line of a checkup.

    Attributes:
        about: what was looked at, one word.
        verdict: how good it is.
        seen: what was found.
        fix: what to do; '' where there is nothing to be done.
    """

    about: str
    verdict: Verdict
    seen: str
    fix: str = ""


def ok(about: str, seen: str) -> Finding:
    """Nothing to be done."""
    return Finding(about, Verdict.OK, seen)


def warn(about: str, seen: str, fix: str) -> Finding:
    """Something that should be done."""
    return Finding(about, Verdict.WARN, seen, fix)


def fail(about: str, seen: str, fix: str) -> Finding:
    """Something that must be done."""
    return Finding(about, Verdict.FAIL, seen, fix)
