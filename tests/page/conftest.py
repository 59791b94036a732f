import pytest
from playwright.sync_api import expect, sync_playwright

from ays_store import Store
from service.local.embedded_redis import EmbeddedRedis
from tests.cli.conftest import MODELS
from tests.page.browser import ARGUMENTS, Tab, executable
from tests.service.server import Server
from tests.store.waiting import until
from tests.worker.conftest import Process

SECONDS = 90


class Stack:
    """Redis, the service and a worker, each a process of its own; the service can be restarted on its port."""

    def __init__(self, redis_url, folder):
        self.redis_url, self._folder, self._starts = redis_url, folder, 0
        self.server = self._start(0)
        self.url = self.server.url

    def _start(self, port):
        self._starts += 1
        return Server(self.redis_url, self._folder / f"server{self._starts}.log", AYS_PORT=port)

    def stop_service(self):
        self.server.process.kill()
        self.server.process.wait()

    def start_service(self):
        self.server = self._start(self.url.rsplit(":", 1)[1])


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    """The service alone, on an empty Redis."""
    folder = tmp_path_factory.mktemp("service")
    with EmbeddedRedis(folder) as redis, Server(redis.url, folder / "server.log") as server:
        yield server.url


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stack")
    models = folder / "models.toml"
    models.write_text(MODELS)
    with EmbeddedRedis(folder) as redis:
        running = Stack(redis.url, folder)
        worker = Process(redis.url, folder, 0, "tests.worker.small", {"AYS_MODELS": str(models), "AYS_THREADS": "1"})
        store = Store.open(redis.url)
        until(store.workers.live, seconds=SECONDS, what="a live worker")
        yield running
        store.close()
        worker.kill()
        running.stop_service()


@pytest.fixture(scope="session")
def guarded(stack, tmp_path_factory):
    """A second service on the same Redis, which asks for keys."""
    with Server(stack.redis_url, tmp_path_factory.mktemp("guarded") / "server.log", AYS_REQUIRE_KEYS="true") as server:
        yield server.url


@pytest.fixture
def open_tab(chromium):
    """Opens a tab; whatever its console complains of, in the end, is a failure."""
    opened = []

    def begin(url, *, width=1440, height=900, scheme="light", **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **options)
        tab = Tab(context.new_page())
        opened.append((context, tab))
        tab.page.goto(url)
        return tab

    expect.set_options(timeout=SECONDS * 1000)
    yield begin
    for context, tab in opened:
        context.close()
        assert tab.complaints == []
