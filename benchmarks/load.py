"""Requests over keep-alive connections, as fast as answers come back: the load of `benchmarks.service_bench`.

One request at a time on each connection, bytes made beforehand, answers told apart by their length alone, which is checked once: a
generator that costs a fraction of what the server spends, so that one core is enough for it.
"""

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Any

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Measured:
    """What a round of load has measured.

    Attributes:
        rate: answers a second.
        p50: median time of an answer, in seconds.
        p99: time that 99 % of the answers stay below, in seconds.
        busy: share of a core that the generator used.
    """

    rate: float
    p50: float
    p99: float
    busy: float


def get(path: str, **headers: str) -> bytes:
    """The bytes of a GET request."""
    lines = [f"GET {path} HTTP/1.1", "host: 127.0.0.1", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


class _Connection(asyncio.Protocol):
    def __init__(self, request: bytes, status: int, size: int, end: float) -> None:
        self._request, self._start, self._size, self._end = request, b"HTTP/1.1 %d " % status, size, end
        self.seconds: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._received = 0
        self._asked = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        if self._received == 0 and not data.startswith(self._start):
            self._finish(AssertionError(f"received {data[:200]!r}, expected {self._start!r}"))
            return
        self._received += len(data)
        if self._received < self._size:
            return
        now = time.perf_counter()
        self.seconds.append(now - self._asked)
        if self._received > self._size:
            self._finish(AssertionError(f"received {self._received} bytes, expected {self._size}"))
        elif now < self._end:
            self._ask()
        else:
            self._finish(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self._finish(exc or ConnectionError("the server closed the connection"))

    def _ask(self) -> None:
        self._received = 0
        self._asked = time.perf_counter()
        self._transport.write(self._request)

    def _finish(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None) if error is None else self.done.set_exception(error)
        self._transport.close()


async def load(port: int, request: bytes, *, status: int, connections: int, seconds: float) -> Measured:
    """Ask the same over and over.

    Args:
        port: where the server listens on loopback.
        request: the request.
        status: the status that every answer has to have.
        connections: how many ask at the same time.
        seconds: for how long.
    """
    size = await _size(port, request)
    start, worked = time.perf_counter(), time.process_time()
    made = [_Connection(request, status, size, start + seconds) for _ in range(connections)]
    loop = asyncio.get_running_loop()
    waiting = iter(made)
    for _ in made:
        await loop.create_connection(lambda: next(waiting), "127.0.0.1", port)
    await asyncio.gather(*(each.done for each in made))
    took = time.perf_counter() - start
    times = sorted(second for each in made for second in each.seconds)
    return Measured(
        rate=len(times) / took,
        p50=times[len(times) // 2],
        p99=times[min(len(times) * 99 // 100, len(times) - 1)],
        busy=(time.process_time() - worked) / took,
    )


async def _size(port: int, request: bytes) -> int:
    """Length of the whole answer: all answers to this request have the same, but for the digits of their headers' values."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    body = 0 if b" 304 " in head.split(b"\r\n", 1)[0] or length is None else int(length[1])
    await reader.readexactly(body)
    writer.close()
    return len(head) + body
