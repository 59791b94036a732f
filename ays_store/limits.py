"""The times and sizes that service and worker have to agree on."""

LEASE_SECONDS = 10.0
"""A running job belongs to its worker this long after the last renewal; then the reaper gives it to another."""

LOST_SECONDS = 30.0
"""A running job is shown as lost when its lease is overdue by this much: nobody has taken it up."""

LIVE_SECONDS = 10.0
"""A worker counts as live this long after its last heartbeat."""

ATTEMPTS_MAX = 3
"""Attempts of one submission that may end with the death of the worker; then the job is failed, not its next worker."""

EVENTS_KEPT = 1000
"""About how many of its latest events a job keeps."""

EVENTS_SECONDS = 7 * 86_400
"""A job's events are dropped this long after the last one."""

SHARDS_SECONDS = 7 * 86_400
"""Shards of a profile that nobody finished are dropped this long after the last one."""

HELPERS_MAX = 2
"""A shard is given to so many helpers; when they die of it or fail, only the worker whose job it is measures it."""

RECORDS_SECONDS = 30 * 86_400
"""The record of a finished job is dropped this long after its submission; schedules and profiles stay."""

WEBHOOKS_MAX = 16
"""So many URLs can want to be told of the end of one job."""

DELIVERIES_MAX = 10_000
"""When so many messages wait for their receivers, no more are promised."""

DELIVERY_SECONDS = 30 * 86_400
"""A message that nobody has delivered, nor given up, is dropped after this time."""

WAIT_SECONDS_MIN, WAIT_SECONDS_MAX = 1, 600
"""Whoever finds the queue full is told to come back after the time in which a place is expected, within these bounds."""

RUN_SECONDS = 30.0
"""How long a job is expected to run before any has."""
