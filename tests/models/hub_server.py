"""A Hugging Face hub on this machine: the endpoints that `huggingface_hub` asks of it for one repository at one commit."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REPOSITORY, REVISION = "tests/tiny", "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder; yields the address and the list of requests, which grows."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Be silent."""

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = self.path.split("?")[0]
            asked.append(f"{self.command} {path}")
            prefix = f"/{REPOSITORY}/resolve/{REVISION}/"
            if path == f"/api/models/{REPOSITORY}/revision/{REVISION}":
                siblings = [{"rfilename": name} for name in files]
                self._send(json.dumps({"id": REPOSITORY, "sha": REVISION, "siblings": siblings}).encode(), {}, body=body)
            elif path.startswith(f"/api/models/{REPOSITORY}/tree/{REVISION}"):
                tree = [{"type": "file", "path": name, "size": file.stat().st_size, "oid": name} for name, file in files.items()]
                self._send(json.dumps(tree).encode(), {}, body=body)
            elif path.startswith(prefix) and path.removeprefix(prefix) in files:
                content = files[path.removeprefix(prefix)].read_bytes()
                headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": REVISION}
                self._send(content, headers, body=body)
            else:
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def _send(self, content: bytes, headers: dict[str, str], *, body: bool) -> None:
            self.send_response(200)
            for name, value in (headers | {"Content-Length": str(len(content))}).items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
