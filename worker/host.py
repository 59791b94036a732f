"""The host of a computation: takes its progress and its shards, and has what earlier attempts have left."""

from collections.abc import Sequence

import structlog

from ays_client.contract import ProfileInfo, Progress, Schedule
from ays_store.results import Results
from worker.progress import Reporter

_log = structlog.stdlib.get_logger(__name__)


class JobHost:
    """What `worker.pipeline` sees of the place it runs in."""

    def __init__(self, reporter: Reporter, *, profile_id: str, fingerprint: str, results: Results, twins: Sequence[str] = ()) -> None:
        """Begins to host a computation.

        Args:
            reporter: Takes the progress.
            profile_id: The profile of the variant.
            fingerprint: The weights that are measured: shards and profiles of other weights are not for them.
            results: Where shards are kept.
            twins: Profiles of the same variant of models that have other names and the same fingerprint.
        """
        self._reporter = reporter
        self._profile_id = profile_id
        self._fingerprint = fingerprint
        self._results = results
        self._twins = twins

    def report(self, progress: Progress) -> None:
        """Publishes progress.

        Args:
            progress: Where the computation is.

        Raises:
            Interruption: If it has to stop.
        """
        self._reporter.report(progress)

    def shards(self) -> list[str]:
        """Returns the shards that earlier attempts have finished, in the order of their keys."""
        mine = f"{self._fingerprint}/"
        return [shard for key, shard in self._results.shards(self._profile_id).items() if key.startswith(mine)]

    def keep_shard(self, key: str, shard: str) -> None:
        """Keeps a finished shard for the next attempt.

        Args:
            key: Which part of the profile it is; a shard of the same key is replaced.
            shard: Its JSON.
        """
        self._results.add_shard(self._profile_id, f"{self._fingerprint}/{key}", shard)
        _log.debug("shard kept", profile=self._profile_id, shard=key)

    def profile(self) -> ProfileInfo | None:
        """Returns the stored profile of this variant, or a twin's, if it was measured with these weights."""
        found = (self._results.profile(profile_id) for profile_id in (self._profile_id, *self._twins))
        return next((profile for profile in found if profile is not None and profile.fingerprint == self._fingerprint), None)

    def validated(self) -> list[Schedule]:
        """Returns the stored schedules of this variant that were validated with these weights."""
        found = self._results.validated(self._profile_id)
        return [schedule for schedule in found if schedule.fingerprint == self._fingerprint]
