"""The supervisor: a small process that keeps the one which computes alive, and says why it died when it did.

What an accelerator, a native library or the kernel does to the computing process ends that process, never this one. A job that it
was at goes back to the queue at once, with the cause, instead of when its lease has run out.
"""

import os
import signal
import subprocess
import time
from types import FrameType

import structlog
from redis.exceptions import RedisError

from ays_process.commands import module_command
from ays_process.environment import BAD_CONFIGURATION
from ays_process.pauses import Pauses
from ays_store import Queue, Store
from worker.process import exits
from worker.process.settings import Settings

_log = structlog.stdlib.get_logger(__name__)

_NOT_BEGUN = {BAD_CONFIGURATION, exits.NO_REDIS, exits.NO_DEVICE}
"""Statuses of a process that has said why it cannot begin."""


class Supervisor:
    """Starts the computing process, and starts it again when it dies.

    Args:
        settings: configuration of the worker.
        module: the computing process; it is given the worker's name and the supervisor's process id.
    """

    def __init__(self, settings: Settings, *, module: str) -> None:
        self._settings = settings
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = False
        self._pauses = Pauses()

    def run(self) -> int:
        """Keep a process until this one is asked to end.

        Returns:
            The exit status: that of the process when it was asked to end, or could not begin; 128 + n where signal n ended it.
        """
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, self._end)
        while True:
            name, started = self._settings.new_name(), time.monotonic()
            status = self._run_once(name)
            if self._ending:
                # Killed by the signal itself: it had not begun.
                return 0 if status == -signal.SIGTERM else _exit_status(status)
            if status in _NOT_BEGUN or not (self._bury(name, ending_of(status)) or status == exits.BROKEN):
                return _exit_status(status)
            self._pause(self._pauses.after(time.monotonic() - started))
            if self._ending:
                return 0

    def _run_once(self, name: str) -> int:
        command = module_command(self._module, name, str(os.getpid()))
        # A session of its own: Ctrl-C reaches the supervisor alone, which asks once; asked twice, a worker does not wait for its shard.
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        if self._ending:
            self._process.terminate()
        return self._process.wait()

    def _end(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._ending = True
        if self._process is not None:
            self._process.terminate()

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._ending and time.monotonic() < end:
            time.sleep(0.05)

    def _bury(self, name: str, ending: str) -> bool:
        """Give the job of a dead process back; whether that process had begun to work, as far as Redis can say it."""
        _log.error("the worker's process died; it is started again unless it died while starting", worker=name, cause=ending)
        try:
            store = Store.open(self._settings.redis_url)
            known, jobs = store.jobs.died(name, f"the worker's process {ending}")
            for job_id in jobs:
                Queue(store.redis).enqueue(job_id)
                asked = store.jobs.origin(job_id).request_id
                _log.warning("job of the dead process queued again", worker=name, job=job_id, request_id=asked)
            store.close()
        except RedisError as error:
            _log.warning("could not give the job of the dead process back; its lease runs out", error=str(error))
            return True
        return known


def ending_of(status: int) -> str:
    """How a process ended, as the end of a sentence.

    Args:
        status: its exit status; -n where signal n ended it.
    """
    if status == -signal.SIGKILL:
        return "was killed by SIGKILL: out of memory is the usual reason, the kernel's log says whether it was"
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"was killed by {name}: native code of the model or of its device is the usual reason"
    if status == exits.HUNG:
        return f"hung and was ended by its watchdog (status {status})"
    if status == exits.BROKEN:
        return f"ended itself, since memory or device do not recover within a process (status {status})"
    return f"ended with status {status}; its log says why"


def _exit_status(status: int) -> int:
    return status if status >= 0 else 128 - status
