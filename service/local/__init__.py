"""One machine: the embedded Redis and the stack of processes that `ays serve` runs."""
