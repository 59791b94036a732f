"""The configuration files of a pipeline, understood; no weights are read."""

from collections.abc import Mapping
from dataclasses import dataclass

from worker.models.diffusers_entry import DiffusersEntry
from worker.models.errors import ModelError
from worker.models.families import FAMILIES
from worker.models.families.adapter import CLASS_LABELS, Adapter, Motion, Pictures, Setting, Text
from worker.models.folder import PipelineFolder
from worker.models.training import Training, read_training


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the configuration files of a pipeline say.

    Attributes:
        entry: the entry of the models file.
        folder: the pipeline.
        network: configuration of its network.
        adapter: how the network is called.
        training: how it was trained.
    """

    entry: DiffusersEntry
    folder: PipelineFolder
    network: Mapping[str, object]
    adapter: Adapter
    training: Training

    @property
    def encoding(self) -> Text | Pictures | None:
        """How its conditions have to be encoded; null where they are labels or embeddings, or there are none."""
        return None if self.entry.embeddings is not None else self.adapter.text or self.adapter.pictures


def read_pipeline(entry: DiffusersEntry, folder: PipelineFolder) -> Reading:
    """Understand the configuration files; no weights are read.

    Raises:
        ModelError: a file is missing or malformed, or the family or the training is none that we know.
    """
    network = folder.config(folder.network)
    kind = str(network.get("_class_name"))
    if kind not in FAMILIES:
        fix = 'bring other networks as a factory (kind = "factory")'
        raise ModelError.of(folder.where, received=f"a {kind}", expected="one of " + ", ".join(FAMILIES), fix=fix)
    setting = Setting(
        where=folder.where,
        network=network,
        vae=folder.config("vae") if folder.has("vae") else None,
        height=entry.height,
        width=entry.width,
        frames=entry.frames,
        motion=Motion(**entry.motion),  # type: ignore[arg-type]  # checked where it is read
    )
    adapter = FAMILIES[kind](setting)
    training = read_training(folder.where, folder.config("scheduler"), tokens=adapter.tokens)
    _check_keys(folder.where, entry, adapter)
    return Reading(entry=entry, folder=folder, network=network, adapter=adapter, training=training)


def _check_keys(where: str, entry: DiffusersEntry, adapter: Adapter) -> None:
    """Refuse keys of conditions that the family does not have."""
    text, labels = adapter.text is not None, CLASS_LABELS in adapter.needs
    unfit = {
        "prompts": entry.prompts is not None and not text,
        "negative_prompt": entry.negative_prompt is not None and not (text and adapter.guidance == "classifier_free"),
        "classes": entry.classes is not None and not labels,
        "condition_images": entry.condition_images is not None and adapter.pictures is None,
        **dict.fromkeys(entry.motion, adapter.motion is None),
        "embeddings": entry.embeddings is not None and (labels or not adapter.needs),
        "guidance_scale": entry.guidance_scale is not None and adapter.guidance == "none",
    }
    wrong = [key for key, is_wrong in unfit.items() if is_wrong]
    if wrong:
        fix = f"remove {wrong[0]} from the models file"
        raise ModelError.of(where, received=wrong[0], expected="only conditions that the network has", fix=fix)
