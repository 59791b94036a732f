"""A toy worker with the real supervisor: `python -m tests.worker.supervised [MODULE]`."""

import sys

from ays_process.logs import configure_logs
from worker.process.settings import load_settings
from worker.process.supervisor import Supervisor

if __name__ == "__main__":
    settings = load_settings()
    configure_logs(settings.log_level, settings.log_format)
    sys.exit(Supervisor(settings, module=(sys.argv[1:] or ["tests.worker.toy"])[0]).run())
