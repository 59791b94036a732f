"""Run by test_ray.py in a network of its own: the deployment of examples/ray_serve.py under Ray Serve, asked over HTTP.

Writes one line of JSON: the image, base64, and what the schedule service was asked.
"""

import base64
import fcntl
import json
import os
import socket
import struct
import sys
import tempfile

import httpx2

from tests.client.hostile import Hostile
from tests.integrate.digits import schedule

SECONDS = 240
_SET_FLAGS, _UP_AND_RUNNING = 0x8914, 0x41


def loopback_up() -> None:
    """A new network has a loopback device, but it is down."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP_AND_RUNNING))


def main() -> None:
    """Start everything, ask once."""
    loopback_up()
    with Hostile() as service, tempfile.TemporaryDirectory(prefix="ray") as folder:  # its sockets need a short path
        service.body = schedule().model_dump_json().encode()
        os.environ |= {"AYS_URL": service.url, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
        import ray
        from ray import serve

        from examples import ray_serve

        ray.init(
            address="local",
            num_cpus=1,
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
            object_store_memory=2**27,
        )
        serve.start(http_options={"host": "127.0.0.1", "port": 8000})
        serve.run(ray_serve.app)
        answer = httpx2.post("http://127.0.0.1:8000/", json={"seed": 1}, timeout=SECONDS).raise_for_status()
        body = {"type": answer.headers["content-type"], "image": base64.b64encode(answer.content).decode(), "asked": service.requests}
        serve.shutdown()
        ray.shutdown()
    sys.stdout.write(json.dumps(body) + "\n")


if __name__ == "__main__":
    main()
