"""A blocking client of the schedule service: `Client("http://127.0.0.1:8000")`.

Every method returns a body of the contract or raises an error of `ays_client.errors` that carries the service's problem.
"""

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Literal, Self

from ays_client.contract import Event, Job, JobRequest, JobState, Method, Model, Priority, ProfileInfo, Schedule, Solver, Terminal
from ays_client.credentials import credentials
from ays_client.curve import CurveRequest
from ays_client.errors import JobFailed, Unavailable
from ays_client.pages import JobPage, ModelList
from ays_client.transport import Transport

Fallback = Literal["none", "nearest", "published", "stock"]
"""What may be served when nothing is cached."""

_FIRST_POLL_SECONDS = 0.1
_PAGE = 200


class Client:
    """Requests to one service; thread-safe, keeps its connections open.

    Args:
        url: address of the service, such as `http://127.0.0.1:8000`.
        timeout: seconds for connecting and for each read or write.
        patience: seconds during which `events` and `wait` try again when the service does not answer.
        api_key: the API key, where the service asks for one; None: that of the environment variable `AYS_API_KEY`.

    Raises:
        ValueError: `url` is no address, or `api_key` no key.
    """

    def __init__(self, url: str, *, timeout: float = 10.0, patience: float = 30.0, api_key: str | None = None) -> None:
        self._transport = Transport(url, timeout=timeout, headers=credentials(api_key))
        self._patience = patience

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def submit(
        self, request: JobRequest | Mapping[str, object], *, webhook: str | None = None, priority: Priority | str | None = None
    ) -> Job:
        """Ask for a schedule; the same request is the same job, also a finished one.

        Args:
            request: the request, or its JSON body as a mapping, which the service checks.
            webhook: URL that is told once how the job ends, by a signed POST.
            priority: `interactive`, or `batch` to let others go first; None: as the request says, else `interactive`.

        Raises:
            Unavailable: the queue is full, or holds too many jobs of this API key; `retry_after` says when to try again.
        """
        body = request.model_dump(mode="json") if isinstance(request, JobRequest) else dict(request)
        body |= {name: value for name, value in {"webhook": webhook, "priority": priority}.items() if value is not None}
        return self._transport.json(Job, "POST", "/v1/jobs", json=body)

    def submit_curve(self, request: CurveRequest | Mapping[str, object]) -> Job:
        """Ask for the schedules of a denoising-loss curve; `request.model` of the job is the curve's id for lookups.

        Args:
            request: the curve and what is wanted first, or its JSON body as a mapping, which the service checks.
        """
        body = request.model_dump(mode="json") if isinstance(request, CurveRequest) else dict(request)
        return self._transport.json(Job, "POST", "/v1/curves", json=body)

    def job(self, job_id: str) -> Job:
        """The job as it is now."""
        return self._transport.json(Job, "GET", f"/v1/jobs/{job_id}")

    def jobs(
        self, *, state: JobState | None = None, model: str | None = None, cursor: str | None = None, limit: int | None = None
    ) -> JobPage:
        """One page of jobs, the newest first; pass its `next_cursor` as `cursor` for the next page."""
        query = {"state": state, "model": model, "cursor": cursor, "limit": limit}
        return self._transport.json(JobPage, "GET", "/v1/jobs", query=query)

    def cancel(self, job_id: str) -> Job:
        """Ask for a job to be stopped; a job that has ended stays as it is."""
        return self._transport.json(Job, "POST", f"/v1/jobs/{job_id}/cancel")

    def events(self, job_id: str, *, last_event_id: str | None = None) -> Iterator[Event]:
        """States and progress of a job as they happen, until its final state.

        A connection that breaks, or that the service ends, is resumed after the last event received.

        Args:
            job_id: the job.
            last_event_id: resume after this event; None: from the first one kept.

        Raises:
            Unavailable: the service did not answer for `patience` seconds.
        """
        silent_since = time.monotonic()
        while True:
            try:
                with self._transport.events(f"/v1/jobs/{job_id}/events", last_event_id) as source:
                    for message in source:
                        silent_since = time.monotonic()
                        last_event_id = message.id or last_event_id
                        if not message.data:
                            continue
                        event = Event.model_validate_json(message.data)
                        yield event
                        if event.state.final:
                            return
                problem = None
            except Unavailable as error:
                problem = error
            if time.monotonic() - silent_since > self._patience:
                if problem is not None:
                    raise problem
                silent_since = time.monotonic()
            time.sleep(problem.retry_after or 1.0 if problem is not None else _FIRST_POLL_SECONDS)

    def wait(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Wait until a job has succeeded.

        Args:
            job_id: the job.
            timeout: seconds to wait at most; None: as long as it takes.

        Returns:
            The job, succeeded.

        Raises:
            JobFailed: it failed or was canceled.
            TimeoutError: it has not ended in time.
            Unavailable: the service did not answer for `patience` seconds.
        """
        start = answered = time.monotonic()
        pause = _FIRST_POLL_SECONDS
        state = "unknown"
        while True:
            try:
                job = self.job(job_id)
                answered = time.monotonic()
                state = job.state.value
                if job.state is JobState.SUCCEEDED:
                    return job
                if job.state.final:
                    raise JobFailed(job)
            except Unavailable:
                if time.monotonic() - answered > self._patience:
                    raise
            if timeout is not None and time.monotonic() - start + pause > timeout:
                msg = f"job {job_id} has not ended within {timeout:g} s, its state is {state}; wait longer or cancel it"
                raise TimeoutError(msg)
            time.sleep(pause)
            pause = min(2 * pause, 1.0)

    def schedule(
        self,
        model: str,
        *,
        nfe: int,
        solver: Solver | str = Solver.DPMPP_2M,
        terminal: Terminal | str = Terminal.ZERO,
        method: Method | str = Method.PROFILE,
        fallback: Fallback = "none",
        **variant: float | int | None,
    ) -> Schedule:
        """The cached schedule of a model.

        Args:
            model: its id.
            nfe: evaluations of the denoiser per sample.
            solver: the solver that will run it.
            terminal: where the last step ends.
            method: how it was found.
            fallback: what may be served when nothing is cached; `Schedule.source` says what it is.
            **variant: the other fields of `ays_client.contract.Variant`, such as `guidance_scale`.

        Raises:
            NotFound: nothing is cached and the fallback has no answer either.
        """
        target = {"model": model, "nfe": nfe, "solver": solver, "terminal": terminal, "method": method}
        query = {**target, "fallback": fallback, **variant}
        return self._transport.json(Schedule, "GET", "/v1/schedules", query=query)

    def schedule_by_id(self, schedule_id: str) -> Schedule:
        """An immutable schedule by its content address."""
        return self._transport.json(Schedule, "GET", f"/v1/schedules/{schedule_id}")

    def models(self) -> list[Model]:
        """All models that can be asked for, page by page."""
        found, cursor = [], None
        while True:
            page = self._transport.json(ModelList, "GET", "/v1/models", query={"cursor": cursor, "limit": _PAGE})
            found += page.models
            # A cursor that stands still would be asked for without end.
            if page.next_cursor in {None, cursor}:
                return found
            cursor = page.next_cursor

    def model(self, model_id: str) -> Model:
        """One model."""
        return self._transport.json(Model, "GET", f"/v1/models/{model_id}")

    def profile(self, profile_id: str) -> ProfileInfo:
        """A measured profile."""
        return self._transport.json(ProfileInfo, "GET", f"/v1/profiles/{profile_id}")

    def check_ready(self) -> None:
        """Return when the service has Redis and at least one live worker.

        Raises:
            Unavailable: it has not, or does not answer; the problem says which.
        """
        self._transport.request("GET", "/readyz")
