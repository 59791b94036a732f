"""Exit statuses of the computing process that mean something to its supervisor."""

NO_REDIS = 3
"""There was no Redis at the start."""

NO_DEVICE = 4
"""The GPU could not be used at the start."""

HUNG = 70
"""The watchdog ended it."""

BROKEN = 71
"""It ended itself: memory or device do not recover within a process."""
