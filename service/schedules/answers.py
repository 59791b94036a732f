"""Responses of immutable and of cached bodies: strong ETags, 304, Cache-Control."""

import gzip
from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import Response

from service.encoding import LEVEL, MINIMUM_SIZE, takes_gzip

IMMUTABLE = "public, max-age=31536000, immutable"
"""For bodies addressed by their content."""

ALIAS = "public, max-age=60, stale-while-revalidate=600, stale-if-error=86400"
"""For the schedule that answers a question now; a better one may replace it."""

COMPUTED = "public, max-age=10, stale-while-revalidate=60, stale-if-error=86400"
"""For a fallback: a job may replace it by a cached schedule at any time."""


def cached(
    request: Request, body: str | bytes, *, tag: str, policy: str, media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """A body with a strong ETag, or 304 when the client has it.

    Args:
        request: the request, for its `If-None-Match`.
        body: the body.
        tag: identity of these very bytes, without quotes; where they are compressed here, it is marked so.
        policy: value of `Cache-Control`.
        media_type: value of `Content-Type`.
        headers: further headers.
    """
    shared = {"cache-control": policy, **(headers or {})}
    if "content-encoding" not in shared and len(body) >= MINIMUM_SIZE:
        shared["vary"] = "Accept-Encoding"
        if takes_gzip(request.scope):
            # Other bytes, another strong tag.
            body, tag = gzip.compress(body.encode() if isinstance(body, str) else body, LEVEL, mtime=0), f"{tag}.gzip"
            shared["content-encoding"] = "gzip"
    etag = f'"{tag}"'
    shared["etag"] = etag
    if matches([value for name, value in request.headers.raw if name == b"if-none-match"], etag.encode()):
        shared.pop("content-encoding", None)
        return Response(status_code=304, headers=shared)
    if "content-encoding" not in shared:
        # The middleware that compresses adds it to all bodies of this size.
        shared.pop("vary", None)
    return Response(body, media_type=media_type, headers=shared)


def matches(conditions: list[bytes], etag: bytes) -> bool:
    """Whether a client has a body already.

    Args:
        conditions: the values of its `If-None-Match`.
        etag: tag of the body, quotes included.
    """
    # It compares weakly (RFC 9110, 13.1.2): a cache in between may have weakened our tag.
    given = {part.strip().removeprefix(b"W/") for condition in conditions for part in condition.split(b",")}
    return etag in given or b"*" in given
