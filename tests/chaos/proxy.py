"""A TCP proxy in front of Redis, with faults: what the network does to the bytes between a process and its Redis."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable

_COMMIT_BYTES = 45_000
"""A command longer than this is the final write of a job with its table, or a row of it."""

_RESET = struct.pack("ii", 1, 0)


class Network(threading.Thread):
    """The event loop in which proxies live; they are told what to do from other threads."""

    def __init__(self) -> None:
        super().__init__(name="network", daemon=True)
        self._loop = asyncio.new_event_loop()
        self._proxies: list[Proxy] = []
        self.start()

    def run(self) -> None:
        self._loop.run_forever()

    def proxy(self, upstream: str) -> "Proxy":
        """A new proxy on a free port of the loopback, in front of the Unix socket `upstream`."""
        proxy = Proxy(upstream)
        asyncio.run_coroutine_threadsafe(proxy.listen(), self._loop).result(10)
        self._proxies.append(proxy)
        return proxy

    def do(self, action: Callable[[], None]) -> None:
        """Do something to a proxy."""
        self._loop.call_soon_threadsafe(action)

    def end(self) -> None:
        """Close everything."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.join()
        self._loop.close()

    async def _close(self) -> None:
        for proxy in self._proxies:
            await proxy.close()


class Link:
    """One connection through a proxy."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self._writers = writers
        self.asked = 0
        self.cut_reply = False
        self.ways: list[asyncio.Task[None]] = []

    def reset(self) -> None:
        """End it as a crashed host does: by RST, whatever was on its way."""
        for writer in self._writers:
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()


class Proxy:
    """Passes bytes on, unless a fault says otherwise. Only the network's thread may touch it."""

    def __init__(self, upstream: str) -> None:
        self.port = 0
        self.delay = 0.0
        self.refusing = False
        self.at_commit: Callable[[Link], None] | None = None
        self._upstream = upstream
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._links: set[Link] = set()

    async def listen(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Take no more connections, and end those that there are."""
        self._server.close()
        self.hole(black=False)
        tasks = [task for link in list(self._links) for task in link.ways]
        self.reset()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.05)

    def hole(self, *, black: bool) -> None:
        """Pass nothing on, and say nothing about it; or go on."""
        if black:
            self._flowing.clear()
        else:
            self._flowing.set()

    def reset(self) -> None:
        """Reset all connections."""
        for link in list(self._links):
            link.reset()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.refusing:
                raise ConnectionRefusedError
            up_reader, up_writer = await asyncio.open_unix_connection(self._upstream)
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer, up_writer)
        self._links.add(link)
        link.ways = [asyncio.create_task(self._ask(link, reader, up_writer)), asyncio.create_task(self._reply(link, up_reader, writer))]
        try:
            await asyncio.wait(link.ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._links.discard(link)
            link.reset()
            for way in link.ways:
                way.cancel()
            await asyncio.gather(*link.ways, return_exceptions=True)

    async def _ask(self, link: Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await self._read(source):
            link.asked += len(data)
            if link.asked > _COMMIT_BYTES and self.at_commit is not None:
                strike, self.at_commit = self.at_commit, None
                strike(link)
            sink.write(data)
            await sink.drain()

    async def _reply(self, link: Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await self._read(source):
            link.asked = 0
            if link.cut_reply:
                link.reset()
                return
            sink.write(data)
            await sink.drain()

    async def _read(self, source: asyncio.StreamReader) -> bytes:
        data = await source.read(65536)
        await self._flowing.wait()
        if self.delay:
            await asyncio.sleep(self.delay)
        return data
