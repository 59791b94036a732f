"""The example configurations of nginx and Caddy, under the real proxies where they are installed."""

import re
import shutil
import socket
import subprocess
from pathlib import Path

import httpx2
import pytest

from ays_store import Store
from ays_store.api_keys import Scope
from tests.service.server import ROOT, Server
from tests.store.waiting import until

PROXIES = ROOT / "deploy" / "proxy"
NAME = "ays.example.org"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def nginx(folder, port, server):
    """Our example on a port of its own without TLS, and, under another name, a server that has only `proxy_pass`."""
    example = (PROXIES / "nginx.conf").read_text()
    example = re.sub(r"listen 443 ssl;", f"listen 127.0.0.1:{port};", example)
    example = re.sub(r"ssl_certificate.*\n", "", example).replace("127.0.0.1:8000", server)
    bare = f"server {{ listen 127.0.0.1:{port}; server_name bare.example.org; location / {{ proxy_pass http://{server}; }} }}"
    paths = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    text = f"daemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}{example}\n{bare}\n}}\n"
    (folder / "nginx.conf").write_text(text)
    return ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", "stderr"]


def caddy(folder, port, server):
    """Our example on a port of its own without TLS."""
    example = (PROXIES / "Caddyfile").read_text().replace(f"{NAME} {{", f"http://{NAME}:{port} {{").replace("127.0.0.1:8000", server)
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n}}\n{example}")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


@pytest.fixture(params=[nginx, caddy], ids=["nginx", "caddy"])
def proxied(request, redis, redis_url, tmp_path):
    """A service that was told its public name, not that keys are required, behind a proxy."""
    if shutil.which(request.param.__name__) is None:
        pytest.skip(f"{request.param.__name__} is not installed")
    port = free_port()
    with Server(redis_url, tmp_path / "log", AYS_ALLOWED_HOSTS=NAME) as server:
        command = request.param(tmp_path, port, server.url.removeprefix("http://"))
        home = {"HOME": str(tmp_path), "PATH": str(Path(shutil.which(command[0])).parent)}
        process = subprocess.Popen(command, env=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers={"host": NAME}, timeout=20) as client:
                until(lambda: answers(client), seconds=20, what="the proxy")
                yield client, Store(redis), server, request.param
        finally:
            process.terminate()
            process.wait(20)


def answers(client):
    try:
        return client.get("/healthz").status_code == 200
    except httpx2.TransportError:
        return False


def test_who_comes_through_the_proxy_needs_a_key(proxied):
    client, store, server, proxy = proxied
    assert client.get("/v1/models").status_code == 401
    _, key = store.api_keys.create("proxied", Scope.SUBMIT)
    sent = {"authorization": f"Bearer {key}"}
    answer = client.get("/v1/models", headers=sent | {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https"})
    assert answer.status_code == 200
    assert "strict-transport-security" not in answer.headers, "what a client claims of itself is not believed"
    assert client.post("/v1/jobs", headers=sent, content=b"a" * 70_000).status_code == 413
    assert httpx2.get(f"{server.url}/v1/models").status_code == 200, "on the machine itself no key is asked for"
    if proxy is nginx:
        assert client.get("/v1/models", headers={"host": "bare.example.org"}).status_code == 401, "nothing but proxy_pass"
