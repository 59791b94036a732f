"""Schedules for a server that must never wait or fail for them: `Schedules(url).get(model="my-model", nfe=8)`.

An answer comes from this process's memory, else from the snapshot on disk, else from the service, which is waited for once and less
than a second. From then on it is refreshed in the background. Without an answer `get` returns None, which stands for the pipeline's
own schedule, logs one warning, and goes on asking in the background.
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from ays_client.client import Fallback
from ays_client.contract import Problem, Schedule, Solver, Target, Terminal
from ays_client.credentials import credentials
from ays_client.errors import ScheduleRefused, ServiceError, Unavailable
from ays_client.snapshots import Snapshot, Snapshots, cache_folder
from ays_client.transport import conditional_get
from ays_client.trust import check_answer

_log = logging.getLogger("ays_client")

_CELLS = 1024
"""Questions that are kept in memory; the oldest goes first."""

_CACHE = cache_folder()


@dataclass
class _Cell:
    """A question, the last good answer, and the thread that asks again."""

    asked: Target
    query: Mapping[str, object]
    key: str
    known: Snapshot | None = None
    due: float = 0.0
    failures: int = 0
    waited: bool = False
    warned: bool = False
    error: Exception | None = None
    thread: threading.Thread | None = field(default=None, repr=False)


class Schedules:
    """Schedules of one service; thread-safe.

    Args:
        url: address of the service, such as `http://127.0.0.1:8000`.
        snapshots: folder where the last good answers are kept for the next start; None: nowhere.
        refresh_seconds: age after which an answer is asked for again, in the background.
        wait_seconds: how long the first `get` of a schedule waits for the service.
        strict: raise where `get` would return None.
        api_key: the API key, where the service asks for one; None: that of the environment variable `AYS_API_KEY`.

    Raises:
        ValueError: `url` is no address, or `api_key` no key.
    """

    def __init__(
        self,
        url: str,
        *,
        snapshots: Path | str | None = _CACHE,
        refresh_seconds: float = 60.0,
        wait_seconds: float = 0.9,
        strict: bool = False,
        api_key: str | None = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            msg = f"received the service address {url!r}; expected one like http://127.0.0.1:8000"
            raise ValueError(msg)
        self._url, self._headers = url.rstrip("/"), credentials(api_key)
        self._snapshots = None if snapshots is None else Snapshots(Path(snapshots))
        self._refresh_seconds, self._wait_seconds, self._strict = refresh_seconds, wait_seconds, strict
        self._cells: dict[str, _Cell] = {}
        self._lock = threading.Lock()
        self._silent = self._refused = False

    def get(
        self,
        model: str,
        *,
        nfe: int,
        solver: Solver | str = Solver.DPMPP_2M,
        terminal: Terminal | str = Terminal.ZERO,
        fallback: Fallback = "published",
        **variant: float | int | None,
    ) -> Schedule | None:
        """The best schedule known now.

        Args:
            model: id of the model.
            nfe: evaluations of the denoiser per sample.
            solver: the solver that will run it.
            terminal: where the last step ends.
            fallback: the weakest kind of answer that is better than the pipeline's own schedule.
            **variant: the other fields of `ays_client.contract.Variant`, such as `guidance_scale`.

        Returns:
            The schedule; None: none is known, sample by the pipeline's own.

        Raises:
            ServiceError: `strict`, and the service did not answer, or has no answer.
            ScheduleRefused: `strict`, and what it answered is not a schedule for this question.
            ValidationError: `strict`, and there can be no such schedule.
        """
        fields = {"model": model, "nfe": nfe, "solver": solver, "terminal": terminal} | variant
        try:
            asked = Target.model_validate({name: value for name, value in fields.items() if value is not None})
        except ValidationError as error:
            if self._strict:
                raise
            if not self._refused:
                self._refused = True
                _log.warning("pipelines keep their own schedule where no other can be asked for: %s", error)
            return None
        cell = self._cell(asked, fallback)
        thread = self._refresh(cell)
        if cell.known is None and thread is not None and not (cell.waited or self._silent):
            thread.join(self._wait_seconds)
            cell.waited = True
        with self._lock:
            if cell.known is None:
                self._miss(cell)
        return None if cell.known is None else cell.known.schedule

    def _cell(self, asked: Target, fallback: Fallback) -> _Cell:
        query = asked.model_dump(mode="json", exclude_defaults=True) | {"fallback": fallback}
        key = hashlib.sha256(json.dumps([self._url, query], sort_keys=True).encode()).hexdigest()[:32]
        with self._lock:
            cell = self._cells.get(key)
            if cell is None:
                while len(self._cells) >= _CELLS:
                    del self._cells[next(iter(self._cells))]
                cell = self._cells[key] = _Cell(asked, query, key)
                cell.known = None if self._snapshots is None else self._snapshots.read(key, asked)
        return cell

    def _refresh(self, cell: _Cell) -> threading.Thread | None:
        """The thread that asks for a cell now, started when its time has come; after a fork there is none until then."""
        with self._lock:
            if cell.thread is not None and cell.thread.is_alive():
                return cell.thread
            if time.monotonic() < cell.due:
                return None
            cell.thread = threading.Thread(target=self._ask, args=(cell,), name="ays-schedules", daemon=True)
            try:
                cell.thread.start()
            except RuntimeError as error:  # The interpreter ends, or the system has no more threads.
                cell.thread, cell.error, cell.due = None, error, time.monotonic() + self._refresh_seconds
            return cell.thread

    def _ask(self, cell: _Cell) -> None:
        try:
            answer = self._fetch(cell)
        except Exception as error:  # Whatever it is, it must not reach whoever samples.
            with self._lock:
                self._fail(cell, error)
            return
        with self._lock:
            cell.known = answer
            if cell.warned:
                _log.warning("the schedule service at %s answers again", self._url)
            cell.failures, cell.error, cell.warned, self._silent = 0, None, False, False
            cell.due = time.monotonic() + self._refresh_seconds

    def _fetch(self, cell: _Cell) -> Snapshot:
        known = cell.known
        answer = conditional_get(
            self._url, "/v1/schedules", query=cell.query, headers=self._headers, etag=None if known is None else known.etag
        )
        if answer is None and known is not None:
            return known
        body, etag = answer or (b"", None)
        schedule = Schedule.model_validate_json(body)
        check_answer(schedule, cell.asked)
        fresh = Snapshot(etag=etag, schedule=schedule)
        if self._snapshots is not None:
            self._snapshots.write(cell.key, fresh)
        return fresh

    def _fail(self, cell: _Cell, error: Exception) -> None:
        cell.error = error
        cell.due = time.monotonic() + min(self._refresh_seconds, 2.0 ** min(cell.failures, 16))
        cell.failures += 1
        self._silent = isinstance(error, Unavailable)
        self._warn(cell, error)

    def _miss(self, cell: _Cell) -> None:
        error = cell.error or Unavailable(_slow(self._url, self._wait_seconds))
        self._silent = self._silent or isinstance(error, Unavailable)
        if self._strict:
            raise error
        self._warn(cell, error)

    def _warn(self, cell: _Cell, error: Exception) -> None:
        if cell.warned:
            return
        cell.warned = True
        asked = cell.asked
        kind = "" if isinstance(error, ServiceError | ScheduleRefused) else "an answer that is no schedule: "
        serves = "the pipeline's own schedule is used" if cell.known is None else "its last answer is used"
        _log.warning("no schedule of %s for %d evaluations: %s%s; %s", asked.model, asked.nfe, kind, error, serves)


def _slow(url: str, seconds: float) -> Problem:
    return Problem(
        title="No answer yet",
        status=503,
        detail=f"the service at {url} has not answered within {seconds:g} s",
        fix="it is asked again in the background",
    )
