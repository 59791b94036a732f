"""The Redis users of docker compose: with their rights everything works, and nothing else does."""

import os
import subprocess
from urllib.parse import quote

import httpx2
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from standardwebhooks.webhooks import Webhook

from ays_store import keys
from service.local.embedded_redis import server_binary
from tests.cli.commands import ays
from tests.cli.conftest import MODELS
from tests.deploy.dockerfile import ROOT
from tests.service.receiver import SECRET, TOKEN, WEBHOOKS, Receiver
from tests.service.server import Server
from tests.store.waiting import until
from tests.worker.conftest import Process

USERS = ("service", "worker", "operator")

FORBIDDEN = [
    "CONFIG GET dir",
    "CONFIG SET dir /tmp",
    "FLUSHALL",
    "FLUSHDB",
    "DEBUG SLEEP 0",
    "MODULE LIST",
    "MODULE LOAD /tmp/x.so",
    "KEYS *",
    "SHUTDOWN NOSAVE",
    "ACL LIST",
    "ACL SETUSER worker allkeys",
    "SAVE",
    "BGSAVE",
    "MONITOR",
    "REPLICAOF 127.0.0.1 1",
    "CLIENT KILL TYPE normal",
    "FUNCTION LIST",
    "SCRIPT FLUSH",
    "GET other",
    "SET other 1",
    "SET ays:1:job:x 1",
    "PUBLISH other hello",
]


def made(folder):
    """The files that `passwords.sh` has made, by the user whose password each holds."""
    subprocess.run([ROOT / "deploy/redis/passwords.sh", folder], check=True, timeout=10)
    return {user: folder / f"redis-{user}-password" for user in USERS}


class Guarded:
    """A Redis that was started as compose starts it."""

    def __init__(self, folder):
        (folder / "bin").mkdir()
        (folder / "bin" / "redis-server").symlink_to(server_binary())
        self.files, self.users, self._socket = made(folder / "secrets"), folder / "users.acl", folder / "s"
        self.passwords = {user: path.read_text() for user, path in self.files.items()}
        variables = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "AYS_REDIS_USERS": str(self.users)}
        variables |= {f"AYS_REDIS_{user.upper()}_PASSWORD_FILE": str(path) for user, path in self.files.items()}
        command = [ROOT / "deploy/redis/start.sh", "--port", "0", "--unixsocket", str(self._socket), "--dir", str(folder)]
        with (folder / "redis.log").open("wb") as log:
            self.process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        client = Redis(unix_socket_path=str(self._socket))
        until(lambda: _answers(client), what=f"Redis ({folder / 'redis.log'})")
        client.close()

    def url(self, user):
        return f"unix://{user}:{self.passwords[user]}@{quote(str(self._socket))}"

    def named(self, user):
        """What compose and Kubernetes tell of it: a URL without the password, and the password's file."""
        return {"AYS_REDIS_URL": f"unix://{user}@{quote(str(self._socket))}", "AYS_REDIS_PASSWORD_FILE": str(self.files[user])}


def _answers(client):
    try:
        return client.ping()
    except RedisError:
        return False


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    running = Guarded(tmp_path_factory.mktemp("g"))
    yield running
    running.process.terminate()
    running.process.wait(20)


@pytest.mark.parametrize("user", USERS)
def test_nobody_may_do_more_than_the_work(guarded, user):
    with Redis.from_url(guarded.url(user)) as client:
        for command in FORBIDDEN:
            # DEBUG and MODULE LOAD are off in the server's own settings, too, which it may look at first.
            with pytest.raises(ResponseError, match=r"(?i)no permission|can't access|not allowed"):
                client.execute_command(*command.split())
        with pytest.raises(RedisError, match=r"(?i)no permission|can't access|NOPERM"):
            client.eval("return redis.call('SET', 'other', '1')", 0)
        assert client.set("ays:2:probe", 1, px=1)


def test_api_keys_are_read_by_the_service_and_written_by_the_operator(guarded):
    for user, reads, writes in (("service", True, False), ("worker", False, False), ("operator", True, True)):
        with Redis.from_url(guarded.url(user)) as client:
            for may, act in ((reads, lambda: client.hget(keys.API_KEYS, "x")), (writes, lambda: client.hset(keys.API_KEYS, "x", "{}"))):
                if may:
                    act()
                else:
                    with pytest.raises(NoPermissionError):
                        act()


def test_without_a_password_there_is_ping(guarded):
    with Redis.from_url(guarded.url("service").replace("service:", "service:x")) as client, pytest.raises(AuthenticationError):
        client.ping()
    with Redis(unix_socket_path=guarded.url("service").rpartition("@")[2]) as client:
        assert client.ping()
        for command in ("GET ays:2:clock", "INFO", "EVAL 1 0", "CLIENT LIST"):
            with pytest.raises(NoPermissionError):
                client.execute_command(*command.split())


def test_no_password_is_written_anywhere(guarded):
    assert not [name for name, password in guarded.passwords.items() if password in guarded.users.read_text()]
    assert guarded.users.stat().st_mode & 0o077 == 0


def test_it_does_not_start_without_passwords():
    command = [ROOT / "deploy/redis/start.sh"]
    ended = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False, timeout=10)
    assert (ended.returncode != 0, "AYS_REDIS_SERVICE_PASSWORD" in ended.stderr) == (True, True)
    environment = {"PATH": os.environ["PATH"], "AYS_REDIS_SERVICE_PASSWORD": "x", "AYS_REDIS_WORKER_PASSWORD_FILE": "/nowhere"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=10)
    assert (ended.returncode != 0, "AYS_REDIS_WORKER_PASSWORD_FILE: cannot read /nowhere" in ended.stderr) == (True, True)


def test_everything_works_under_these_users_and_tells_no_secret(guarded, tmp_path):
    """The real service, worker and commands, from the first key to a schedule; all that they write is searched for secrets."""
    models = tmp_path / "models.toml"
    models.write_text(MODELS)
    output = []
    created = ays("keys", "create", "--name", "first", "--scope", "submit", cwd=tmp_path, **guarded.named("operator"))
    secret = created.stdout.strip()
    output.append(created.stderr)
    variables = guarded.named("worker") | {"AYS_MODELS": str(models), "AYS_THREADS": "1"}
    worker = Process("", tmp_path, 0, "tests.worker.small", variables)
    try:
        settings = {"AYS_REQUIRE_KEYS": "true", **WEBHOOKS, **guarded.named("service")}
        with Receiver() as receiver, Server("", tmp_path / "server.log", **settings) as server:
            headers = {"authorization": f"Bearer {secret}"}
            with httpx2.Client(base_url=server.url, timeout=30, headers=headers) as client:
                until(lambda: client.get("/readyz").status_code == 200, seconds=90, what="a live worker")
                job = client.post("/v1/jobs", json={"model": "small", "nfe": 4, "effort": "fast", "paths": 16, "webhook": receiver.url})
                path = job.headers["location"]
                until(lambda: client.get(path).json()["state"] == "succeeded", seconds=90, what="the schedule")
                assert Webhook(SECRET).verify(receiver.after(1)[0].body, receiver.came[0].headers)["type"] == "job.succeeded"
                with client.stream("GET", f"{path}/events") as events:
                    output.append("".join(events.iter_text()))
                answers = [client.get(each) for each in (client.get(path).json()["schedule_url"], "/metrics", "/v1/jobs", "/v1/models")]
                assert [answer.status_code for answer in answers] == [200] * 4
                answers += [
                    client.get("/v1/models", headers={"authorization": f"Bearer {secret[:-1]}"}),
                    client.get(f"/v1/models/{secret}"),
                    client.get("/v1/models", params={"key": secret}),
                    client.post("/v1/jobs", json={"model": secret, "nfe": 4}),
                    client.post("/v1/jobs", json={secret: 1}),
                    client.post("/v1/jobs", content=b"{", headers={"content-type": "application/json"}),
                ]
                output += [answer.text for answer in answers[:7]]
            for words in (("keys", "list"), ("doctor", "--json")):
                ended = ays(*words, cwd=tmp_path, AYS_REDIS_URL=guarded.url("operator"), AYS_URL=server.url, AYS_API_KEY=secret)
                output += [ended.stdout, ended.stderr]
                assert "refuses us a command" not in ended.stdout
            wrong = ays("keys", "list", cwd=tmp_path, AYS_REDIS_URL=guarded.url("operator").replace("operator:", "operator:x"))
            forbidden = ays("keys", "list", cwd=tmp_path, AYS_REDIS_URL=guarded.url("worker"))
            assert (wrong.returncode, forbidden.returncode) == (3, 2)
            output += [wrong.stderr, forbidden.stderr]
        assert worker.end() == 0
    finally:
        worker.popen.kill()
        worker.popen.wait()
    output += [worker.stderr.read_text(), (tmp_path / "server.log").read_text()]
    text = "\n".join(output)
    assert "request" in text
    assert "permission" not in worker.stderr.read_text() + (tmp_path / "server.log").read_text()
    for hidden in (secret.split("_", 2)[2], SECRET, TOKEN, *guarded.passwords.values()):
        assert hidden not in text
