"""The service, as a client sees it."""

from collections.abc import Iterator

import httpx2

from ays_client.version import VERSION
from ays_process.finding import Finding, fail, ok, warn

_SECONDS = 5.0


def service_findings(url: str) -> Iterator[Finding]:
    """Ask a service whether it can do its work, and which version it is.

    Args:
        url: its address.
    """
    try:
        with httpx2.Client(base_url=url, timeout=_SECONDS) as client:
            ready = client.get("/readyz")
            version = str(client.get("/openapi.json").json()["info"]["version"])
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError) as error:
        yield warn(
            "api", f"nothing of ours answers at {url}: {error}", "start it: `ays serve` or `python -m service`; or name it in AYS_URL"
        )
        return
    if ready.status_code == 200:
        yield ok("api", f"{url} is ready, version {version}")
    else:
        problem = ready.json()
        yield fail("api", f"{url} is not ready: {problem['detail']}", problem.get("fix", "see its log"))
    if version != VERSION:
        yield warn("versions", f"the service is version {version}, this is {VERSION}", "finish the upgrade: the same version everywhere")
