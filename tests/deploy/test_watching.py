"""Rules, dashboard and their explanation name metrics that there are, and every alert is explained."""

import json
import re
import shutil
import subprocess
from urllib.parse import urlsplit

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ays_client.contract import JobState, Priority
from ays_store.stats import Stats
from service.metrics import Metrics
from tests.deploy.dockerfile import ROOT

PAGE = (ROOT / "docs" / "operating.md").read_text()
RULES = [rule for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/align-your-steps.json").read_text())
PANELS = DASHBOARD["panels"]


def samples():
    """Labels by name of everything that `/metrics` can say."""
    metrics = Metrics()
    metrics.watch(lambda: Stats(dict.fromkeys(JobState, 1), {Priority.BATCH: 1}, {Priority.BATCH: 1.0}, 1, 1, 1, 1, {}, webhooks=1))
    metrics.answered("GET", "/healthz", 200, 0.001)
    families = text_string_to_metric_families(metrics.text().decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


KNOWN = samples()
QUERIES = [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_names_what_there_is(query):
    named = re.findall(r"\b((?:ays|process)_\w+)(?:{(.*?)})?", query)
    assert named or query.startswith("up{")
    for name, matchers in named:
        labels = set(re.findall(r'(\w+)[=!]~?"', matchers))
        assert name in KNOWN, name
        assert labels <= KNOWN[name] | {"job", "instance"}
    grouped = {label for labels in re.findall(r"by \((.*?)\)", query) for label in labels.split(", ")}
    assert grouped <= {label for name, _ in named for label in KNOWN[name]} | {"job", "instance"}
    assert query.count("(") == query.count(")")


def test_every_alert_is_explained_and_nothing_else():
    explained = re.findall(r"^\*\*`(Ays\w+)`\*\*", PAGE, re.MULTILINE)
    assert explained == [rule["alert"] for rule in RULES]


def test_every_metric_is_explained():
    own = {re.sub(r"_(bucket|count|sum)$", "", name) for name in KNOWN if name.startswith("ays_")}
    assert set(re.findall(r"^\| `(ays_\w+)`", PAGE, re.MULTILINE)) == own


def test_an_alert_says_how_urgent_it_is_and_what_happens():
    assert {rule["labels"]["severity"] for rule in RULES} == {"page", "ticket"}
    for rule in RULES:
        assert rule["annotations"]["summary"].endswith(".")


@pytest.mark.parametrize(
    "words",
    [["check", "config", "deploy/prometheus/prometheus.yml"], ["test", "rules", "tests/deploy/alerts_test.yml"]],
    ids=lambda words: words[0],
)
def test_promtool_takes_the_rules_and_they_fire(words):
    if shutil.which("promtool") is None:
        pytest.skip("promtool, of Prometheus, is not installed")
    ended = subprocess.run(["promtool", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_alert_has_a_case_that_fires_and_one_that_does_not():
    tests = yaml.safe_load((ROOT / "tests/deploy/alerts_test.yml").read_text())["tests"]
    cases = {(case["alertname"], bool(case.get("exp_alerts"))) for test in tests for case in test["alert_rule_test"]}
    assert cases == {(rule["alert"], fires) for rule in RULES for fires in (True, False)}


def test_the_dashboard_is_whole():
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in PANELS]
    assert len(set(places)) == len(places)
    assert all(panel["description"] for panel in PANELS)


def test_prometheus_finds_the_service_and_grafana_finds_prometheus():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    prometheus = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    ((job),) = prometheus["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    assert (job["job_name"], target) == ("ays", "service:8000")
    assert target.split(":")[0] in compose
    assert all((ROOT / "deploy/prometheus" / name).exists() for name in prometheus["rule_files"])
    (source,) = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert urlsplit(source["url"]).hostname in compose
    assert {panel["datasource"]["uid"] for panel in PANELS} == {source["uid"]}
    (provider,) = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/align-your-steps.yml").read_text())["providers"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in compose["grafana"]["volumes"]
