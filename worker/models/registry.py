"""The registry: the only models that can be asked for, by id.

An id is looked up in a dictionary and never becomes an import or a path. The entries are the built-in ones and those of the
operator's models file.
"""

from pathlib import Path

from worker.models.builtin import ANALYTIC, DIGITS, AnalyticEntry, analytic_card, folder_card, load_analytic, load_folder
from worker.models.card import Card
from worker.models.errors import ModelError
from worker.models.factory import load_factory
from worker.models.loaded import LoadedModel
from worker.models.models_file import DiffusersEntry, Entry, FactoryEntry, read_models_file
from worker.models.probe import probe


class Registry:
    """The models of this worker."""

    def __init__(self, path: Path | None) -> None:
        """Collect the entries.

        Args:
            path: the models file; None: the built-in models alone.

        Raises:
            ModelError: the models file is malformed, or an entry takes a built-in id.
        """
        self._entries: dict[str, Entry | AnalyticEntry] = {entry.id: entry for entry in (DIGITS, *ANALYTIC)}
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
        return [_card(entry) for entry in self._entries.values()]

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
        return _load(entry)


def _card(entry: Entry | AnalyticEntry) -> Card:
    try:
        match entry:
            case AnalyticEntry():
                return analytic_card(entry)
            case DiffusersEntry():
                return folder_card(entry)
    except ModelError:
        return Card(id=entry.id, title=entry.title)
    return Card(id=entry.id, title=entry.title)


def _load(entry: Entry | AnalyticEntry) -> LoadedModel:
    match entry:
        case AnalyticEntry():
            model = load_analytic(entry)
        case DiffusersEntry():
            model = load_folder(entry)
        case FactoryEntry():
            return load_factory(entry)
    probe(model)
    return model
