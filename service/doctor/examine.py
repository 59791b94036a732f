"""All checks, in the order in which one depends on the other."""

import os
from collections.abc import Iterator
from pathlib import Path

from ays_process.environment import ConfigurationError, names_redis, with_redis
from ays_process.finding import Finding, fail, ok, warn
from service.doctor.of_machine import disk, known_variables
from service.doctor.of_redis import redis_findings
from service.doctor.of_service import service_findings
from service.doctor.of_worker import worker_checkup
from service.local.embedded_redis import running_url
from service.settings import DEFAULT_REDIS_URL, load_settings


def examine(*, url: str, data: Path) -> Iterator[Finding]:
    """Look at the environment, Redis, the workers, the service, the models, the device and the disk; changes nothing.

    Args:
        url: address of the service.
        data: folder of the embedded Redis.
    """
    named = names_redis(os.environ)
    embedded = None if named else running_url(data)
    variables, of_worker = worker_checkup(os.environ if named else with_redis(os.environ, embedded or DEFAULT_REDIS_URL))
    yield from known_variables(variables)
    try:
        settings = load_settings()
    except ConfigurationError as error:
        for line in str(error).splitlines():
            yield fail("service", line, "correct the variable; docs/api.md lists them all")
        settings = None
    else:
        yield ok("service", "the environment configures the service")
    yield from of_worker
    if not named and embedded is None:
        yield warn("redis", "AYS_REDIS_URL is unset and no embedded Redis runs", "start `ays serve`, or set AYS_REDIS_URL")
        yield disk(data)
    elif settings is not None:
        yield from redis_findings(embedded or settings.redis_url)
        if not named:
            yield disk(data)
    yield from service_findings(url)
