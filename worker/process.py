"""`python -m worker.process NAME KEEPER`: the computing process of a worker, started by the keeper with that process id."""

import sys
from dataclasses import asdict

import torch

from ays_client.contract import Model
from ays_client.published import PUBLISHED
from ays_process.environment import BAD_CONFIGURATION, ConfigurationError
from ays_process.logs import configure_logs
from worker import exits, pipeline
from worker.device import DeviceError, gpu
from worker.models.card import Card
from worker.models.errors import ModelError
from worker.models.registry import Registry
from worker.settings import QUIET, load_settings
from worker.shell import Shell


def main(name: str, keeper: int) -> int:
    """Runs the process.

    Args:
        name: The worker's name.
        keeper: Process id of the keeper.

    Returns:
        Its exit status, as `worker.exits` says.
    """
    try:
        settings = load_settings()
        registry = Registry(settings.models, allow_hub=settings.allow_hub, limit=settings.model_max_bytes)
        models = [_offered(card) for card in registry.cards()]
        found = gpu()
    except (ConfigurationError, ModelError) as error:
        print(error, file=sys.stderr)
        return BAD_CONFIGURATION
    except DeviceError as error:
        print(error, file=sys.stderr)
        return exits.NO_DEVICE
    configure_logs(settings.log_level, settings.log_format, quiet=QUIET)
    torch.set_num_threads(settings.threads)
    shell = Shell(
        settings,
        name=name,
        models=models,
        load=registry.load,
        compute=pipeline.optimize,
        measure_shard=pipeline.shard,
        device=found.name if found else f"cpu, {settings.threads} threads",
        keeper=keeper,
    )
    return shell.run()


def _offered(card: Card) -> Model:
    """The model as it is announced.

    Raises:
        ModelError: its models file names a published table that there is not.
    """
    if card.published is not None and card.published not in PUBLISHED:
        where, received = f"model {card.id!r} of the models file", f"published = {card.published!r}"
        raise ModelError.of(where, received=received, expected=f"one of {', '.join(PUBLISHED)}", fix="correct the name or remove the key")
    return Model.model_validate(asdict(card))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
