"""One job of the queue: its lease, its progress, its shards and their helpers, and the worker that takes one job after the other."""
