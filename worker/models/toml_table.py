"""A table of the models file: its values, each checked as it is read."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from worker.models.errors import ModelError


@dataclass(frozen=True)
class Table:
    """A TOML table.

    Attributes:
        where: subject of messages.
        content: its keys and values.
        folder: where relative paths start.
    """

    where: str
    content: Mapping[str, object]
    folder: Path

    @property
    def keys(self) -> list[str]:
        """Its keys, in the order of the file."""
        return list(self.content)

    def named(self, where: str) -> "Table":
        """The same with another subject of messages."""
        return replace(self, where=where)

    def get(self, key: str) -> object:
        """Value of a key, None where it is not set."""
        return self.content.get(key)

    def only(self, known: Collection[str]) -> None:
        """Refuse keys that nobody reads.

        Raises:
            ModelError: there is one.
        """
        unknown = sorted(set(self.content) - set(known))
        if unknown:
            received, expected = "the key " + ", ".join(unknown), "only " + ", ".join(sorted(known))
            raise ModelError.of(self.where, received=received, expected=expected, fix="remove or correct the key")

    def table(self, key: str, *, path: str | None = None) -> "Table":
        """A table within, empty where it is not set.

        Raises:
            ModelError: the value is something else.
        """
        value, name = self.content.get(key, {}), path or key
        if not isinstance(value, dict):
            raise ModelError.of(self.where, received=f"{name} = {value!r}", expected="a table", fix=f"write [{name}]")
        return Table(self.where, value, self.folder)

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not empty.

        Raises:
            ModelError: the value is something else, or is missing without a default.
        """
        value = self.content.get(key, default)
        if not isinstance(value, str) or not value:
            received = f"{key} = {value!r}" if key in self.content else f"no {key}"
            raise ModelError.of(self.where, received=received, expected="a text that is not empty", fix=f'write {key} = "..."')
        return value

    def optional_text(self, key: str) -> str | None:
        """A text that is not empty, None where it is not set.

        Raises:
            ModelError: the value is something else.
        """
        return self.text(key) if key in self.content else None

    def choice(self, key: str, choices: Collection[str], default: str) -> str:
        """One of some texts.

        Raises:
            ModelError: the value is something else.
        """
        value = self.content.get(key, default)
        if value not in choices:
            expected = " or ".join(f'"{choice}"' for choice in choices)
            raise ModelError.of(self.where, received=f"{key} = {value!r}", expected=expected, fix=f"set {key} to one of these")
        return str(value)

    def number(self, key: str, *, low: float, high: float) -> float | None:
        """A number in a range, None where it is not set.

        Raises:
            ModelError: the value is something else.
        """
        value = self.content.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            fix = f"write {key} = {low:g}"
            raise ModelError.of(self.where, received=f"{key} = {value!r}", expected=f"a number from {low:g} to {high:g}", fix=fix)
        return float(value)

    def count(self, key: str) -> int | None:
        """A positive whole number, None where it is not set.

        Raises:
            ModelError: the value is something else.
        """
        value = self.content.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            fix = f"write {key} = 64, or leave it out"
            raise ModelError.of(self.where, received=f"{key} = {value!r}", expected="a positive whole number", fix=fix)
        return value

    def switch(self, key: str) -> bool:
        """True or false, false where it is not set.

        Raises:
            ModelError: the value is something else.
        """
        value = self.content.get(key, False)
        if not isinstance(value, bool):
            raise ModelError.of(self.where, received=f"{key} = {value!r}", expected="true or false", fix=f"write {key} = true")
        return value

    def distilled(self) -> bool:
        """Whether the table is of a step-distilled model, `steps_distilled`.

        Raises:
            ModelError: the value is neither true nor false, or the table names a published one, which is of the model before distillation.
        """
        if self.switch("steps_distilled") and "published" in self.content:
            received, expected = (
                "published beside steps_distilled = true",
                "one of them: published tables are of models as they were trained",
            )
            raise ModelError.of(self.where, received=received, expected=expected, fix="remove published")
        return self.switch("steps_distilled")

    def path(self, key: str) -> Path | None:
        """A path, relative ones from the models file's folder; None where it is not set.

        Raises:
            ModelError: the value is something else, or climbs with `..`.
        """
        if key not in self.content:
            return None
        value = self.text(key)
        if ".." in Path(value).parts:
            fix = "write the path without '..', or an absolute path"
            raise ModelError.of(self.where, received=f"{key} = {value!r}", expected="a path that does not climb", fix=fix)
        return self.folder / value
