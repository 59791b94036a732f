"""`python -m worker.process.compute NAME SUPERVISOR`: the computing process of a worker, started by the supervisor with that process id."""

import sys
from dataclasses import asdict

import torch

from ays_client.contract import Model
from ays_client.published import PUBLISHED
from ays_process.environment import BAD_CONFIGURATION, ConfigurationError
from ays_process.logs import configure_logs
from worker.models.card import Card
from worker.models.errors import ModelError
from worker.models.registry import Registry
from worker.process import exits
from worker.process.device import DeviceError, gpu
from worker.process.settings import QUIET, load_settings
from worker.process.shell import Shell
from worker.tasks import pipeline


def main(name: str, supervisor: int) -> int:
    """Runs the process.

    Args:
        name: The worker's name.
        supervisor: Process id of the supervisor.

    Returns:
        Its exit status, as `worker.process.exits` says.
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
        supervisor=supervisor,
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
