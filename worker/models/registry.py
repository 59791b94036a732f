"""The registry: the only models that can be asked for, by id.

An id is looked up in a dictionary and never becomes an import or a path. The entries are the built-in ones and those of the
operator's models file.
"""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from worker.models.builtin import ANALYTIC, DIGITS, FASHION, AnalyticEntry, analytic_card, load_analytic, load_digits
from worker.models.card import Card
from worker.models.diffusers_entry import DiffusersEntry
from worker.models.diffusers_model import diffusers_card, load_diffusers
from worker.models.errors import ModelError
from worker.models.factory import load_factory
from worker.models.hub import Hub
from worker.models.limits import LARGEST_MODEL
from worker.models.loaded import LoadedModel
from worker.models.models_file import Entry, FactoryEntry, read_models_file
from worker.models.probe import probe


class Registry:
    """The models of this worker."""

    def __init__(self, path: Path | None, *, allow_hub: bool = False, limit: int = LARGEST_MODEL) -> None:
        """Collect the entries.

        Args:
            path: the models file; None: the built-in models alone.
            limit: largest size of the weights of a component, in bytes.
            allow_hub: whether what an entry names on the Hugging Face hub may be downloaded; else only its local cache is read.

        Raises:
            ModelError: the models file is malformed, or an entry takes a built-in id.
        """
        self._hub, self._limit = Hub(allowed=allow_hub), limit
        self._entries: dict[str, Entry | AnalyticEntry] = {entry.id: entry for entry in (DIGITS, FASHION, *ANALYTIC)}
        for name, entry in (read_models_file(path) if path is not None else {}).items():
            if name in self._entries:
                where, fix = f"model {name!r}", "choose another id for the entry of the models file"
                raise ModelError.of(where, received="an id that is built in", expected="a free id", fix=fix)
            self._entries[name] = entry

    @property
    def ids(self) -> list[str]:
        """Ids that can be asked for."""
        return list(self._entries)

    def cards(self) -> list[Card]:
        """Known facts of every model; no weights are loaded and no foreign code runs.

        A folder that is broken still has a card, of id and title: loading it tells what is wrong.
        """
        return [_card(entry, self._hub) for entry in self._entries.values()]

    def load(self, model_id: str) -> LoadedModel:
        """Load a model and probe it.

        Args:
            model_id: one of `ids`.

        Raises:
            ModelError: the id is unknown, or the model cannot be loaded or measured.
        """
        entry = self._entries.get(model_id)
        if entry is None:
            where, expected = "model", "one of " + ", ".join(self._entries)
            fix = "ask for one of these, or add it to the models file (AYS_MODELS) and restart the worker"
            raise ModelError.of(where, received=f"the id {model_id!r}", expected=expected, fix=fix)
        return _load(entry, self._hub, self._limit)


def _card(entry: Entry | AnalyticEntry, hub: Hub) -> Card:
    if isinstance(entry, AnalyticEntry):
        return analytic_card(entry)
    card = Card(id=entry.id, title=entry.title)
    if isinstance(entry, DiffusersEntry):
        with suppress(ModelError):
            card = diffusers_card(entry, hub)
    return replace(card, published=entry.published)


def _load(entry: Entry | AnalyticEntry, hub: Hub, limit: int) -> LoadedModel:
    if not isinstance(entry, AnalyticEntry) and entry.steps_distilled:
        received = (
            "a step-distilled checkpoint (steps_distilled = true in the models file), which knows only the noise levels it was distilled at"
        )
        fix = "sample it with the scheduler and steps that its card names, or ask for a schedule of the model that it was distilled from"
        where = f"model {entry.id!r}"
        raise ModelError.of(where, received=received, expected="a model of every noise level", fix=fix)
    match entry:
        case AnalyticEntry():
            model = load_analytic(entry)
        case DiffusersEntry():
            model = replace(load_digits(hub) if entry is DIGITS else load_diffusers(entry, hub, limit=limit), published=entry.published)
        case FactoryEntry():
            return replace(load_factory(entry), published=entry.published)
    probe(model)
    return model
