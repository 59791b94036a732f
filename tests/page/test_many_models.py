"""The page with more models than a page of the API has."""

from playwright.sync_api import expect

from ays_client.contract import Model
from ays_store import Store
from service.local.embedded_redis import EmbeddedRedis
from tests.service.server import Server


def test_all_models_are_listed_and_searched(open_tab, tmp_path):
    with EmbeddedRedis(tmp_path / "redis") as redis, Server(redis.url, tmp_path / "server.log") as server:
        store = Store.open(redis.url)
        store.models.publish([Model(id=f"m{number:03}", title=f"Model {number}") for number in range(230)], source="here")
        store.close()
        page = open_tab(server.url).page
        # Four more are known by their published schedules.
        expect(page.locator("#models > li")).to_have_count(234)
        page.locator("#search").fill("m229")
        expect(page.locator("#models > li")).to_have_count(1)
