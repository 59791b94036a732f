"""One try of one message: a signed POST of which only the status of the answer counts."""

import asyncio
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpcore2
import httpx2
from pydantic import SecretBytes

from ays_client.version import VERSION
from ays_client.webhooks import Notice
from ays_store.webhooks import Delivery
from service.webhooks.network import ForbiddenAddressError, GuardedNetwork, Resolve
from service.webhooks.reach import Reach
from service.webhooks.signing import signature

_GONE = 410
_LATER = (429, 503)
_LONGEST_PAUSE = 86_400.0
_CONNECT_SECONDS = 5.0

_FAILURES = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, ForbiddenAddressError, OSError)


@dataclass(frozen=True)
class Outcome:
    """How a try went.

    Attributes:
        delivered: whether the receiver has taken the message: a status of 200 to 299.
        hopeless: whether another try would end the same.
        cause: what went wrong, for the log; '' when nothing did.
        pause: seconds that the receiver asks to wait, 0 when it does not say.
    """

    delivered: bool = False
    hopeless: bool = False
    cause: str = ""
    pause: float = 0.0


class Sender:
    """Sends messages; every try has a connection of its own, is over in time, follows no redirect and asks no proxy.

    Args:
        secrets: what it signs with.
        reach: where messages may go.
        resolve: finds addresses.
        seconds: longest time of a try.
        tls: what certificates are verified with; None: the system's authorities, or those of `SSL_CERT_FILE`.
    """

    def __init__(
        self, secrets: Sequence[SecretBytes], *, reach: Reach, resolve: Resolve, seconds: float, tls: ssl.SSLContext | None = None
    ) -> None:
        self._secrets = list(secrets)
        self._reach = reach
        self._seconds = seconds
        network = GuardedNetwork(reach, resolve)
        self._connections = httpcore2.AsyncConnectionPool(
            ssl_context=tls, max_connections=None, max_keepalive_connections=0, network_backend=network
        )

    async def send(self, delivery: Delivery) -> Outcome:
        """Try to deliver a message.

        Args:
            delivery: the message.
        """
        mistake = self._reach.mistake(delivery.url)
        if mistake is not None:
            # It was not one when it was promised: the operator has changed the rules since.
            return Outcome(hopeless=True, cause=f"{mistake.detail}; expected {mistake.expected}")
        if delivery.job is None:
            return Outcome(hopeless=True, cause="the record of the job cannot be read")
        body = Notice.of(delivery.job).body()
        try:
            async with asyncio.timeout(self._seconds):
                return await self._post(delivery, body)
        except TimeoutError:
            return Outcome(cause=f"no answer within {self._seconds:g} s")
        except _FAILURES as error:
            return Outcome(cause=f"{type(error).__name__}: {error}")

    async def _post(self, delivery: Delivery, body: bytes) -> Outcome:
        timestamp = int(time.time())
        headers = {
            "content-type": "application/json",
            "user-agent": f"ays/{VERSION}",
            "webhook-id": delivery.message,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._secrets, message=delivery.message, timestamp=timestamp, body=body),
        }
        target, limits = _target(delivery.url), {"timeout": {"connect": _CONNECT_SECONDS}}
        # The body of the answer is not read: what it says is nothing to us, and it may have no end.
        async with self._connections.stream("POST", target, headers=list(headers.items()), content=body, extensions=limits) as answer:
            return _outcome(answer)

    async def close(self) -> None:
        """Close what is open."""
        await self._connections.aclose()


def _target(url: str) -> httpcore2.URL:
    # By its parts, as they were checked: nobody parses it a second time, in another way.
    parts = httpx2.URL(url)
    return httpcore2.URL(scheme=parts.raw_scheme, host=parts.raw_host, port=parts.port, target=parts.raw_path)


def _outcome(answer: httpcore2.Response) -> Outcome:
    status = answer.status
    if 200 <= status < 300:
        return Outcome(delivered=True)
    if status == _GONE:
        return Outcome(hopeless=True, cause="status 410: the receiver is gone")
    return Outcome(cause=f"status {status}", pause=_retry_after(answer) if status in _LATER else 0.0)


def _retry_after(answer: httpcore2.Response) -> float:
    said = next((value for name, value in answer.headers if name.lower() == b"retry-after"), b"")
    return min(float(said), _LONGEST_PAUSE) if said.isdigit() and len(said) < 10 else 0.0
