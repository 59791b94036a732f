"""A model from a diffusers pipeline: its card from the configuration files, and the model itself from everything else.

In this order, so that memory never holds more than it must: conditions (the encoders come and go), data (the autoencoder comes and
goes), then the network.
"""

from dataclasses import asdict

from worker.models.card import Card
from worker.models.conditions import NEGATIVE, Conditions
from worker.models.diffusers_entry import DiffusersEntry, HubReference
from worker.models.errors import ModelError
from worker.models.families.adapter import Adapter
from worker.models.fingerprint import digest, file_digest
from worker.models.folder import PipelineFolder, read_folder
from worker.models.given import conditions_identity, read_conditions, read_samples
from worker.models.hub import Hub
from worker.models.limits import LARGEST_MODEL
from worker.models.loaded import LoadedModel, in_order, resampled
from worker.models.network_denoiser import NetworkDenoiser
from worker.models.reading import Reading, read_pipeline
from worker.models.weights import find_weights


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


def load_diffusers(entry: DiffusersEntry, hub: Hub, *, limit: int = LARGEST_MODEL) -> LoadedModel:
    """Load a pipeline's network, on the GPU when there is one, with its conditions and data.

    Args:
        entry: the entry of the models file.
        hub: where repositories come from.
        limit: largest size of the weights of a component, in bytes.

    Raises:
        ModelError: the pipeline is missing, unsafe or malformed, or something the entry names is.
    """
    # Imported here: it imports most of diffusers, which takes seconds and a worker of other models never needs.
    from worker.models.network import PRECISIONS, best_device, load_network

    reading = read_pipeline(entry, _downloaded(entry, hub, limit))
    folder, adapter, device, precision = reading.folder, reading.adapter, best_device(), PRECISIONS[entry.precision]
    variant, weights = find_weights(folder, folder.network, entry.variant)
    conditions = read_conditions(reading, precision, device)
    scale = _guidance_scale(reading, conditions)
    samples, data_identity = read_samples(reading, device)
    identity = {
        "network": {key: value for key, value in reading.network.items() if not key.startswith("_")},
        "class": reading.network["_class_name"],
        "training": reading.training.identity,
        "weights": [file_digest(path) for path in weights],
        "shape": adapter.shape,
        "precision": entry.precision,
        "conditions": conditions_identity(reading),
        "guidance_scale": scale,
        "data": data_identity,
    }
    if adapter.motion is not None:
        identity["motion"] = asdict(adapter.motion)
    denoiser = NetworkDenoiser(
        net=load_network(
            folder, variant=variant, precision=precision, device=device, backend=entry.compile_backend if entry.compile else None
        ),
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
        # Pixels run from -1 to 1 in every pipeline of diffusers; latents have no range.
        data_range=None if folder.has("vae") else (-1.0, 1.0),
        paired=in_order(samples) if samples is not None and conditions is not None and conditions.count == len(samples) else None,
        guided=denoiser.guided if _guidable(adapter, conditions) else None,
    )


def _local(entry: DiffusersEntry, hub: Hub, limit: int = LARGEST_MODEL) -> PipelineFolder:
    where = f"model {entry.id!r}"
    if isinstance(entry.source, HubReference):
        path = hub.cached(where, entry.source)
        return read_folder(where, path, root=hub.root(path), limit=limit)
    return read_folder(where, entry.source, limit=limit)


def _downloaded(entry: DiffusersEntry, hub: Hub, limit: int) -> PipelineFolder:
    """The folder; of a commit on the hub, all that this entry needs of it and no more."""
    if not isinstance(entry.source, HubReference):
        return _local(entry, hub, limit)
    where = f"model {entry.id!r}"
    path = hub.configuration(where, entry.source)
    folder = read_folder(where, path, root=hub.root(path), limit=limit)
    reading = read_pipeline(entry, folder)
    hub.component(where, entry.source, folder.network, entry.variant)
    wanted = {name for name in folder.index if reading.encoding is not None and name.startswith(reading.encoding.components)}
    for name in sorted(wanted | ({"vae"} if entry.images is not None else set())):
        hub.component(where, entry.source, name, entry.variant)
    return folder


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
