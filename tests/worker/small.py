"""A real computing process whose tables hold three solvers, as all of them take seconds: `python -m tests.worker.small`."""

import os
import sys

from tests.worker.tasks.pipelines import small_table
from worker.process.compute import main
from worker.process.settings import load_settings

if __name__ == "__main__":
    with small_table():
        sys.exit(main(load_settings().new_name(), os.getppid()))
