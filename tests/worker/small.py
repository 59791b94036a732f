"""A real worker of small tables and reports, as whole ones take half a minute: `python -m tests.worker.small`.

Given a name and the process id of its supervisor it is the computing process.
"""

import sys

from ays_process.logs import configure_logs
from worker.process.settings import QUIET, load_settings
from worker.process.supervisor import Supervisor


def compute(name: str, supervisor: int) -> int:
    # Imported here: the supervisor is a process without torch.
    from tests.worker.tasks.pipelines import small_reports, small_table
    from worker.process.compute import main

    with small_table(), small_reports():
        return main(name, supervisor)


def supervise() -> int:
    settings = load_settings()
    configure_logs(settings.log_level, settings.log_format, quiet=QUIET)
    return Supervisor(settings, module="tests.worker.small").run()


if __name__ == "__main__":
    sys.exit(compute(sys.argv[1], int(sys.argv[2])) if sys.argv[1:] else supervise())
