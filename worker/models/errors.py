"""The one error of the models: what was received, what is expected, how to fix it."""

from typing import Self


class ModelError(ValueError):
    """A model cannot be loaded or used; the text is for the person who asked for it."""

    @classmethod
    def of(cls, what: str, *, received: str, expected: str, fix: str) -> Self:
        """Write the four parts of a message in their order.

        Args:
            what: the subject, such as `model 'x'`.
            received: what was found.
            expected: what should have been found.
            fix: what to change.
        """
        return cls(f"{what}: received {received}; expected {expected}; fix: {fix}")
