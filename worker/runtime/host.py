"""The host of a computation: takes its progress and its shards, and has what earlier attempts have left."""

from collections.abc import Callable, Sequence

import structlog
from redis.exceptions import ResponseError

from ays_client.contract import ProfileInfo, Progress, Schedule
from ays_store import Measurement, Store
from ays_store.damage import leaving_out
from worker.runtime.attempt import Attempt, Superseded
from worker.runtime.progress import Reporter
from worker.runtime.sharing import Sharing

_log = structlog.stdlib.get_logger(__name__)


class JobHost:
    """What `worker.tasks.pipeline` sees of the place it runs in."""

    def __init__(
        self, attempt: Attempt, reporter: Reporter, sharing: Sharing, *, of: Measurement, store: Store, twins: Sequence[str] = ()
    ) -> None:
        """Begins to host a computation.

        Args:
            attempt: The attempt.
            reporter: Takes the progress.
            sharing: Has the shards measured.
            of: What is measured: profiles of other weights are not for it.
            store: A patient store.
            twins: Profiles of the same variant of models that have other names and the same fingerprint.
        """
        self._attempt = attempt
        self._reporter = reporter
        self._sharing = sharing
        self._profile_id, self._fingerprint = of.profile_id, of.fingerprint
        self._store = store
        self._twins = twins

    def report(self, progress: Progress) -> None:
        """Publishes progress.

        Args:
            progress: Where the computation is.

        Raises:
            Interruption: If it has to stop.
        """
        self._reporter.report(progress)

    def gather(self, shards: Sequence[str], measure: Callable[[str], str], *, arrived: Callable[[str], None]) -> dict[str, str] | None:
        """Returns the bodies of shards by name: finished earlier, measured here, or by workers that have nothing else to do.

        None when another job has stored a whole profile since `profile` looked for one.

        Args:
            shards: Their names.
            measure: Measures one.
            arrived: Told of each that another worker has measured meanwhile.

        Raises:
            Interruption: If the computation has to stop.
        """
        return self._sharing.gather(shards, measure, arrived=arrived)

    def checkpoint(self) -> str | None:
        """Returns what an earlier attempt has kept last."""
        return self._store.checkpoints.read(self._attempt.job_id)

    def keep(self, checkpoint: str) -> None:
        """Keeps JSON for the next attempt.

        Args:
            checkpoint: It, in place of what was kept before.

        Raises:
            Interruption: If the computation has to stop.
        """
        try:
            self._attempt.note(self._store.checkpoints.keep(self._attempt.job_id, self._attempt.token, checkpoint))
        except ResponseError as error:
            # The computation needs it only if this process dies.
            _log.warning("checkpoint not kept", error=str(error))
        self._attempt.check()

    def profile(self) -> ProfileInfo | None:
        """Returns the stored profile of this variant, or a twin's, if it was measured with these weights; a damaged one is none."""
        self._sharing.look()
        found = (self._readable(profile_id) for profile_id in (self._profile_id, *self._twins))
        return next((profile for profile in found if profile is not None and profile.fingerprint == self._fingerprint), None)

    def _readable(self, profile_id: str) -> ProfileInfo | None:
        with leaving_out():
            return self._store.results.profile(profile_id)
        return None

    def publish(self, profile: ProfileInfo, table: list[Schedule]) -> None:
        """Stores a new profile and its table, which others are served from now on.

        Args:
            profile: The profile.
            table: Its schedules.

        Raises:
            Interruption: If the computation has to stop.
        """
        if not self._store.results.publish(self._attempt.job_id, self._attempt.token, profile=profile, schedules=table):
            raise Superseded
        self._attempt.check()

    def validated(self) -> list[Schedule]:
        """Returns the stored schedules of this variant that were validated with these weights."""
        found = self._store.results.validated(self._profile_id)
        return [schedule for schedule in found if schedule.fingerprint == self._fingerprint]
