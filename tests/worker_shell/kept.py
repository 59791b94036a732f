"""A toy worker with the real keeper: `python -m tests.worker_shell.kept [MODULE]`."""

import sys

from ays_process.logs import configure_logs
from worker.keeper import Keeper
from worker.settings import load_settings

if __name__ == "__main__":
    settings = load_settings()
    configure_logs(settings.log_level, settings.log_format)
    sys.exit(Keeper(settings, module=(sys.argv[1:] or ["tests.worker_shell.toy"])[0]).run())
