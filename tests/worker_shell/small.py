"""A real computing process whose tables hold two solvers, as all of them take seconds: `python -m tests.worker_shell.small`."""

import os
import sys

from tests.pipelines import small_table
from worker.process import main
from worker.settings import load_settings

if __name__ == "__main__":
    with small_table():
        sys.exit(main(load_settings().new_name(), os.getppid()))
