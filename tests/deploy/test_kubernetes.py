"""The manifests are valid, and fit together, the images and the service."""

import re

import kubernetes_validate
import pytest
import yaml

from ays_store.stats import Stats
from service.metrics import Metrics
from tests.deploy.dockerfile import ROOT, stages
from worker.settings import Settings as WorkerSettings

FOLDER = ROOT / "deploy" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
FOREIGN = {"ScaledObject"}
"""Kinds that Kubernetes itself does not have."""


def manifests(name):
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


ALL = [document for name in [*KUSTOMIZATION["resources"], "secret.example.yaml"] for document in manifests(name)]
NATIVE = [document for document in ALL if document["kind"] not in FOREIGN]


def kind(name):
    return {document["metadata"]["name"]: document for document in ALL if document["kind"] == name}


PODS = {name: document["spec"]["template"] for workload in ("Deployment", "StatefulSet") for name, document in kind(workload).items()}


@pytest.mark.parametrize("document", NATIVE, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_the_schema_takes_it(document):
    kubernetes_validate.validate(document, "1.33", strict=True)


def test_the_schema_is_strict():
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**kind("Namespace")["ays"], "spek": {}}, "1.33", strict=True)


def test_every_file_is_used():
    assert {path.name for path in FOLDER.glob("*.yaml")} == {*KUSTOMIZATION["resources"], "kustomization.yaml", "secret.example.yaml"}
    assert KUSTOMIZATION["namespace"] in kind("Namespace")


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_no_more_rights_than_it_needs(name):
    spec = PODS[name]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        expected = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert container["securityContext"] == expected
        assert "memory" in container["resources"]["limits"]


def test_pods_run_as_the_user_of_their_image():
    (user,) = re.findall(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[:1]
    for name in ("service", "worker"):
        assert PODS[name]["spec"]["securityContext"]["runAsUser"] == int(user)


def test_labels_and_ports_meet():
    for selecting in (*kind("Service").values(), *kind("PodDisruptionBudget").values()):
        selector = selecting["spec"]["selector"]
        name = selector.get("app") or selector["matchLabels"]["app"]
        assert PODS[name]["metadata"]["labels"]["app"] == name
    for name, service in kind("Service").items():
        ports = {port["name"] for port in PODS[name]["spec"]["containers"][0]["ports"]}
        assert service["spec"]["ports"][0].get("targetPort", "redis") in ports
    policies = {(policy["spec"]["podSelector"].get("matchLabels") or {}).get("app") for policy in kind("NetworkPolicy").values()}
    assert {None, "redis", "service"} == policies


def test_images_are_those_of_the_dockerfile_and_their_commands_are_kept():
    final = stages((ROOT / "Dockerfile").read_text())
    for name in ("service", "worker"):
        (container,) = PODS[name]["spec"]["containers"]
        assert container["image"] in {image["name"] for image in KUSTOMIZATION["images"]}
        assert "command" not in container
        assert final[name].command("CMD") == ["python", "-m", name]
    assert PODS["worker"]["spec"]["containers"][0]["readinessProbe"]["exec"]["command"] == final["worker"].command("HEALTHCHECK")


def test_secrets_are_references_to_the_secret():
    keys = set(kind("Secret")["ays"]["stringData"])
    text = "".join((FOLDER / name).read_text() for name in KUSTOMIZATION["resources"])
    named = re.findall(r"secretKeyRef: {name: ays, key: ([\w.-]+)}|{key: ([\w.-]+), path", text)
    assert {one or other for one, other in named} == keys
    assert "password" not in text.replace("PING would need the password", "").replace("other passwords", "")


def test_redis_keeps_what_it_is_given():
    lines = kind("Secret")["ays"]["stringData"]["redis.conf"].splitlines()
    assert {"dir /data", "appendonly yes", "appendfsync always", "maxmemory-policy noeviction"} <= set(lines)


def test_a_worker_has_a_gpu_and_the_time_to_hand_its_job_back():
    spec = PODS["worker"]["spec"]
    assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert spec["terminationGracePeriodSeconds"] > WorkerSettings.model_fields["drain_seconds"].default
    assert "livenessProbe" not in spec["containers"][0]


def test_keda_scales_the_workers_by_a_metric_that_there_is():
    (scaled,) = [each for each in ALL if each["kind"] in FOREIGN]
    assert scaled["spec"]["scaleTargetRef"]["name"] in kind("Deployment")
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["type"] == "metrics-api"
    metadata = trigger["metadata"]
    assert metadata["url"] == f"http://service.{KUSTOMIZATION['namespace']}.svc/metrics"
    metrics = Metrics()
    metrics.watch(lambda: Stats({}, {"interactive": 2, "batch": 1}, 0.0, 1, 1, 0, 0, {}, webhooks=0))
    # KEDA reads it by its name, without labels.
    assert f"\n{metadata['valueLocation']} 4.0\n" in metrics.text().decode()
