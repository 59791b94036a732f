"""A line of the log, as a process writes it."""

import json
import subprocess
import sys

PROGRAM = """
import logging, structlog
logging.getLogger("early").addHandler(logging.StreamHandler())
from ays_process.logs import configure_logs
configure_logs("info", "{form}", quiet=("chatty",))
log = structlog.get_logger("ours")
structlog.contextvars.bind_contextvars(request_id="r1")
log.info("hello", url="redis://user:secret@host:6379/0", count=2)
logging.getLogger("early").warning("theirs %s", "too")
logging.getLogger("chatty").info("never")
log.debug("never")
try:
    raise ConnectionError("no answer from rediss://:secret@host and http://user:secret@proxy")
except ConnectionError:
    log.exception("it failed")
"""


def written(form):
    ended = subprocess.run([sys.executable, "-c", PROGRAM.format(form=form)], capture_output=True, text=True, timeout=30, check=True)
    assert "secret" not in ended.stderr
    return ended.stderr.splitlines()


def test_json_is_one_object_a_line():
    hello, theirs, failed = [json.loads(line) for line in written("json")]
    assert hello["timestamp"].endswith("Z")
    expected = {"event": "hello", "level": "info", "logger": "ours", "request_id": "r1", "count": 2, "url": "redis://user:***@host:6379/0"}
    assert {name: value for name, value in hello.items() if name != "timestamp"} == expected
    assert (theirs["event"], theirs["logger"], theirs["request_id"]) == ("theirs too", "early", "r1")
    assert failed["exception"].endswith("no answer from rediss://:***@host and http://user:***@proxy")


def test_text_is_for_people():
    first = written("text")[0]
    assert "hello" in first
    assert "request_id=r1" in first
    assert not first.startswith("{")
