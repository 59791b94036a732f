"""A model from a diffusers pipeline: its card from the configuration files, and the model itself from everything else.

In this order, so that memory never holds more than it must: conditions (the encoders come and go), data (the autoencoder comes and
goes), then the network.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.models.card import Card
from worker.models.conditions import NEGATIVE, Conditions, class_conditions, read_classes, read_embeddings
from worker.models.diffusers_entry import DiffusersEntry, HubReference
from worker.models.errors import ModelError
from worker.models.families import FAMILIES
from worker.models.families.adapter import CLASS_LABELS, Adapter, Setting
from worker.models.fingerprint import digest, file_digest
from worker.models.folder import PipelineFolder, is_encoder, read_folder
from worker.models.hub import Hub
from worker.models.loaded import LoadedModel, in_order, resampled
from worker.models.network_denoiser import NetworkDenoiser
from worker.models.prompts import prompts_of
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
    def encodes(self) -> bool:
        """Whether its conditions are prompts that have to be encoded."""
        return bool(self.adapter.needs) and not self.adapter.classes and self.entry.embeddings is None


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
        "embeddings": entry.embeddings is not None and (labels or not adapter.needs),
        "guidance_scale": entry.guidance_scale is not None and adapter.guidance == "none",
    }
    wrong = [key for key, is_wrong in unfit.items() if is_wrong]
    if wrong:
        fix = f"remove {wrong[0]} from the models file"
        raise ModelError.of(where, received=wrong[0], expected="only conditions that the network has", fix=fix)


def diffusers_card(entry: DiffusersEntry, hub: Hub) -> Card:
    """Facts of a pipeline from its configuration files; nothing is downloaded for it.

    Raises:
        ModelError: the pipeline is missing or malformed.
    """
    reading = read_pipeline(entry, _local(entry, hub))
    process, adapter = reading.training.process, reading.adapter
    return Card(
        id=entry.id,
        title=entry.title,
        kind=process.kind,
        shape=adapter.shape,
        sigma_min=process.sigma_min,
        sigma_max=process.sigma_max,
        prediction_type=reading.training.prediction,
        guidance_scale=adapter.default_guidance if entry.guidance_scale is None else entry.guidance_scale,
    )


def load_diffusers(entry: DiffusersEntry, hub: Hub) -> LoadedModel:
    """Load a pipeline's network, on the GPU when there is one, with its conditions and data.

    Raises:
        ModelError: the pipeline is missing, unsafe or malformed, or something the entry names is.
    """
    # Imported here: it imports most of diffusers, which takes seconds and a worker of other models never needs.
    from worker.models.network import PRECISIONS, best_device, load_network

    reading = read_pipeline(entry, _downloaded(entry, hub))
    folder, adapter, device, precision = reading.folder, reading.adapter, best_device(), PRECISIONS[entry.precision]
    variant, weights = folder.weights(folder.network, entry.variant)
    conditions = _conditions(reading, precision, device)
    scale = _guidance_scale(reading, conditions)
    samples, data_identity = _samples(reading, device)
    identity = {
        "network": {key: value for key, value in reading.network.items() if not key.startswith("_")},
        "class": reading.network["_class_name"],
        "training": reading.training.identity,
        "weights": [file_digest(path) for path in weights],
        "shape": adapter.shape,
        "precision": entry.precision,
        "conditions": _conditions_identity(reading),
        "guidance_scale": scale,
        "data": data_identity,
    }
    denoiser = NetworkDenoiser(
        net=load_network(folder, variant=variant, precision=precision, device=device, compiled=entry.compile),
        adapter=adapter,
        training=reading.training,
        given=None if conditions is None else conditions.to(device, precision),
        guidance_scale=scale,
        precision=precision,
        device=device,
    )
    return LoadedModel(
        id=entry.id,
        title=entry.title,
        denoiser=denoiser,
        process=reading.training.process,
        fingerprint=digest(identity),
        prediction_type=reading.training.prediction,
        guidance_scale=scale,
        data=None if samples is None else resampled(samples),
        paired=in_order(samples) if samples is not None and conditions is not None and conditions.count == len(samples) else None,
        guided=denoiser.guided if _guidable(adapter, conditions) else None,
    )


def _local(entry: DiffusersEntry, hub: Hub) -> PipelineFolder:
    where = f"model {entry.id!r}"
    if isinstance(entry.source, HubReference):
        path = hub.cached(where, entry.source)
        return read_folder(where, path, root=hub.root(path))
    return read_folder(where, entry.source)


def _downloaded(entry: DiffusersEntry, hub: Hub) -> PipelineFolder:
    """The folder; of a commit on the hub, all that this entry needs of it and no more."""
    if not isinstance(entry.source, HubReference):
        return _local(entry, hub)
    where = f"model {entry.id!r}"
    path = hub.configuration(where, entry.source)
    folder = read_folder(where, path, root=hub.root(path))
    reading = read_pipeline(entry, folder)
    hub.component(where, entry.source, folder.network, entry.variant)
    wanted = [name for name in folder.index if reading.encodes and is_encoder(name)]
    for name in [*wanted, *(["vae"] if entry.images is not None else [])]:
        hub.component(where, entry.source, name, entry.variant)
    return folder


def _conditions(reading: Reading, precision: torch.dtype, device: torch.device) -> Conditions | None:
    entry, adapter, where = reading.entry, reading.adapter, reading.folder.where
    if not adapter.needs:
        return None
    if adapter.classes:
        return class_conditions(where, None if entry.classes is None else read_classes(where, entry.classes), adapter)
    if entry.embeddings is not None:
        return read_embeddings(where, entry.embeddings, adapter)
    from worker.models.encoding import encode

    prompts, negative = prompts_of(entry), entry.negative_prompt
    return encode(reading.folder, adapter, prompts, negative=negative, precision=precision, device=device)


def _conditions_identity(reading: Reading) -> object:
    entry, folder = reading.entry, reading.folder
    if reading.encodes:
        files = [file_digest(path) for name in sorted(folder.index) if is_encoder(name) and folder.has(name) for path in folder.files(name)]
        return {"prompts": prompts_of(entry), "negative": entry.negative_prompt, "encoders": files}
    if entry.embeddings is not None:
        return file_digest(entry.embeddings)
    return None if entry.classes is None else read_classes(folder.where, entry.classes)


def _guidance_scale(reading: Reading, conditions: Conditions | None) -> float | None:
    """The entry's scale, else the family's; 1, which is no guidance, where there is no unconditional side."""
    adapter, asked = reading.adapter, reading.entry.guidance_scale
    if adapter.guidance == "none":
        return None
    if _guidable(adapter, conditions):
        return adapter.default_guidance if asked is None else asked
    if asked is not None and asked != 1:
        expected = ", ".join(NEGATIVE + name for name in adapter.needs) + " among the embeddings"
        fix = "encode the negative prompt too, or set guidance_scale = 1"
        raise ModelError.of(reading.folder.where, received=f"guidance_scale = {asked:g}", expected=expected, fix=fix)
    return 1.0


def _guidable(adapter: Adapter, conditions: Conditions | None) -> bool:
    if adapter.guidance == "classifier_free":
        return conditions is not None and conditions.unconditional is not None
    return adapter.guidance == "embedded"


def _samples(reading: Reading, device: torch.device) -> tuple[Tensor | None, object]:
    """Clean samples and their identity."""
    entry, folder, adapter = reading.entry, reading.folder, reading.adapter
    if entry.latents is None and entry.images is None:
        return None, None
    from worker.models.data import encode_images, image_files, read_latents

    if entry.latents is not None:
        return read_latents(folder.where, entry.latents, adapter), file_digest(entry.latents)
    assert entry.images is not None
    files = image_files(folder.where, entry.images)
    encoder = [file_digest(path) for path in folder.weights("vae")[1]] if folder.has("vae") else []
    samples = encode_images(folder, adapter, files, device=device)
    return samples, {"images": [file_digest(path) for path in files], "encoder": encoder}
