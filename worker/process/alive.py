"""`python -m worker.process.alive`: whether a worker of this name has a heartbeat, for the health check of a container. Exit status 0 or 1.

Without Redis it says no, though the worker may be well and waiting for it: show it and delay roll-outs by it, kill nothing by it.
The worker ends itself when it hangs.
"""

import sys

from redis.exceptions import RedisError

from ays_process.environment import ConfigurationError
from ays_process.logs import without_passwords
from ays_store import Store
from worker.process.settings import load_settings


def main() -> int:
    """Looks for the heartbeat."""
    try:
        settings = load_settings()
        live = Store.open(settings.redis_url).workers.live()
    except (ConfigurationError, RedisError) as error:
        sys.stderr.write(f"{without_passwords(str(error))}\n")
        return 1
    if not any(worker.name.startswith(f"{settings.worker_name}-") for worker in live):
        sys.stderr.write(f"no heartbeat of {settings.worker_name}; alive: {', '.join(worker.name for worker in live) or 'none'}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
