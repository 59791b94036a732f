"""Models that stay in memory between jobs: loading one takes longer than many a job."""

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.models.loaded import LoadedModel


class WarmModels:
    """The models used last, up to a number."""

    def __init__(self, load: "Callable[[str], LoadedModel]", *, size: int) -> None:
        self._load = load
        self._size = size
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()

    def get(self, model_id: str) -> "LoadedModel":
        """Returns a model, from memory if it is there.

        Args:
            model_id: Its id.
        """
        if model_id not in self._models:
            # Before, not after: two models at a time may be one too many for the memory.
            while len(self._models) >= self._size:
                self._models.popitem(last=False)
            self._models[model_id] = self._load(model_id)
        self._models.move_to_end(model_id)
        return self._models[model_id]

    def clear(self) -> None:
        """Lets go of all models, after an error that one of them or the memory may be the cause of."""
        self._models.clear()
