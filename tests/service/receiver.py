"""A real receiver of webhooks: an HTTP server on loopback that answers as it is told and remembers what came."""

import shutil
import ssl
import subprocess
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.store.waiting import until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The example of Standard Webhooks' specification."""

TOKEN = "a-secret-of-the-receiver"
"""What nobody but the receiver is to see of its URL."""

WEBHOOKS = {"AYS_WEBHOOK_SECRET": SECRET, "AYS_WEBHOOK_NETWORKS": "127.0.0.0/8", "AYS_WEBHOOK_HTTP": "true"}
"""Settings of a service that tells receivers on loopback."""


@dataclass(frozen=True)
class Came:
    """A request that came in."""

    path: str
    headers: dict
    body: bytes

    @property
    def id(self):
        return self.headers["webhook-id"]


class Receiver:
    """Answers POSTs with the statuses of a list, the last one for ever; `block` makes it wait before it answers."""

    def __init__(self, *statuses, host="127.0.0.1", port=0, headers=(), tls=None):
        self.came, self.block = [], threading.Event()
        self.block.set()
        self._statuses, self._headers = list(statuses) or [204], dict(headers)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.came.append(Came(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                status = outer._statuses.pop(0) if len(outer._statuses) > 1 else outer._statuses[0]
                outer.block.wait(60)
                self.send_response(status)
                for name, value in outer._headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            do_GET = do_POST

            def handle(self):
                try:
                    super().handle()
                except OSError:
                    # The sender did not wait for the answer.
                    self.close_connection = True

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"http://{host}:{self.port}/hook?token={TOKEN}"
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.05))

    def after(self, number):
        """What has come, when so much has."""
        return until(lambda: len(self.came) >= number and self.came, seconds=60, what=f"request {number}")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.block.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def certificate(folder, name):
    """The TLS side of a server with a certificate for a name, which is its own authority, and the file of that authority."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    authority, key = folder / "cert.pem", folder / "key.pem"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    files = ["-keyout", str(key), "-out", str(authority)]
    subprocess.run(["openssl", "req", "-x509", *kind, *names, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, key)
    return context, authority
