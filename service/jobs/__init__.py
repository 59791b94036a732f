"""Jobs: admission to the queue, and their events as streams."""
