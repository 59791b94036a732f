"""`python -m worker`: one worker process, configured by the environment (`AYS_REDIS_URL`, `AYS_MODELS`, `AYS_THREADS`, ...)."""

import sys
from dataclasses import asdict

import torch

from ays_client.contract import Model
from worker import pipeline
from worker.logs import configure
from worker.models.errors import ModelError
from worker.models.registry import Registry
from worker.settings import ConfigurationError, load_settings
from worker.shell import Shell

EXIT_CONFIGURATION = 2


def main() -> int:
    """Runs a worker; returns its exit status."""
    try:
        settings = load_settings()
        registry = Registry(settings.models)
    except (ConfigurationError, ModelError) as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIGURATION
    configure(settings.log_level)
    torch.set_num_threads(settings.threads)
    models = [Model.model_validate(asdict(card)) for card in registry.cards()]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {settings.threads} threads"
    return Shell(settings, models=models, load=registry.load, compute=pipeline.optimize, device=device).run()


if __name__ == "__main__":
    sys.exit(main())
