"""`python -m worker`: one worker, configured by the environment (`AYS_REDIS_URL`, `AYS_MODELS`, `AYS_THREADS`, ...)."""

import sys

from ays_process.environment import BAD_CONFIGURATION, ConfigurationError
from ays_process.logs import configure_logs
from worker.process.settings import QUIET, load_settings
from worker.process.supervisor import Supervisor


def main() -> int:
    """Runs a worker; returns its exit status."""
    try:
        settings = load_settings()
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return BAD_CONFIGURATION
    configure_logs(settings.log_level, settings.log_format, quiet=QUIET)
    return Supervisor(settings, module="worker.process.compute").run()


if __name__ == "__main__":
    sys.exit(main())
