"""A server on a real socket that answers as it is told to: well, wrongly, slowly, or not at all."""

import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.client.schedules import schedule

GOOD = schedule(nfe=4)


class Hostile:
    """The server; `answer` is what it does next, `requests` what it was asked."""

    def __init__(self, answer="good"):
        self.answer, self.requests, self.body = answer, [], GOOD.model_dump_json().encode()
        self.ended = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append((self.path, self.headers.get("If-None-Match")))
                getattr(outer, f"_{outer.answer}")(self)

            def log_message(self, *_):
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_):
                """Clients hang up on it."""

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _send(self, handler, body, *, status=200, length=None, etag='"one"'):
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.send_header("ETag", etag)
        handler.end_headers()
        handler.wfile.write(body)

    def _good(self, handler):
        if handler.headers.get("If-None-Match") == '"one"':
            self._send(handler, b"", status=304)
        else:
            self._send(handler, self.body)

    def _slow(self, _handler):
        self.ended.wait(30)

    def _trickling(self, handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(10**6))
        handler.end_headers()
        end = time.monotonic() + 30
        while time.monotonic() < end and not self.ended.wait(0.05):
            handler.wfile.write(b" ")

    def _endless(self, handler):
        handler.send_response(200)
        handler.end_headers()
        while not self.ended.is_set():
            handler.wfile.write(b" " * 65536)

    def _truncated(self, handler):
        self._send(handler, self.body[:100])

    def _broken_off(self, handler):
        self._send(handler, self.body[:100], length=len(self.body))

    def _first_level(self, text):
        return re.sub(rb'("sigmas":\[)[^,]*', rb"\g<1>" + text, self.body)

    def _nan(self, handler):
        self._send(handler, self._first_level(rb"NaN"))

    def _infinite(self, handler):
        self._send(handler, self._first_level(rb"1e999"))

    def _wrong_model(self, handler):
        self._send(handler, self.body.replace(b'"model":"toy"', b'"model":"other"'))

    def _wrong_budget(self, handler):
        self._send(handler, schedule(nfe=3, sigmas=(14.0, 3.0, 1.0, 0.0)).model_dump_json().encode())

    def _ascending(self, handler):
        self._send(handler, schedule(sigmas=(1.0, 3.0, 5.0, 7.0, 0.0)).model_dump_json().encode())

    def _too_short(self, handler):
        self._send(handler, GOOD.model_copy(update={"sigmas": GOOD.sigmas[1:]}).model_dump_json().encode())

    def _html(self, handler):
        self._send(handler, b"<html>hello</html>")

    def _error(self, handler):
        self._send(handler, b"oh", status=500)

    def _unauthorized(self, handler):
        self._send(handler, b"no", status=401)


class Dead:
    """An address where nobody listens."""

    def __enter__(self):
        self._taken = socket.socket()
        self._taken.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._taken.getsockname()[1]}"
        return self

    def __exit__(self, *_):
        self._taken.close()


class Deaf:
    """An address that takes connections into a full backlog and never answers."""

    def __enter__(self):
        self._listening = socket.socket()
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(0)
        self._waiting = [socket.socket() for _ in range(4)]
        for each in self._waiting:
            each.setblocking(False)
            each.connect_ex(self._listening.getsockname())
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        return self

    def __exit__(self, *_):
        for each in [*self._waiting, self._listening]:
            each.close()
