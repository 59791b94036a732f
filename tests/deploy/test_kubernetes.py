"""The manifests are valid, and fit together, the images and the service."""

import re

import kubernetes_validate
import pytest
import yaml

from ays_client.contract import Priority
from ays_store.stats import Stats
from service.metrics import Metrics
from tests.deploy.dockerfile import ROOT, stages
from worker.process.settings import Settings as WorkerSettings

FOLDER = ROOT / "deploy" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
FOREIGN = {"ScaledObject"}
"""Kinds that Kubernetes itself does not have."""


def manifests(name):
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


EXAMPLES = ["secret.example.yaml", "keys.example.yaml"]
ALL = [document for name in [*KUSTOMIZATION["resources"], *EXAMPLES] for document in manifests(name)]
NATIVE = [document for document in ALL if document["kind"] not in FOREIGN]


def named(document):
    metadata = document["metadata"]
    return metadata.get("name") or metadata["generateName"].rstrip("-")


def kind(name):
    return {named(document): document for document in ALL if document["kind"] == name}


PODS = {
    name: document["spec"]["template"] for workload in ("Deployment", "StatefulSet", "Job") for name, document in kind(workload).items()
}


@pytest.mark.parametrize("document", NATIVE, ids=lambda each: f"{each['kind']}-{named(each)}")
def test_the_schema_takes_it(document):
    kubernetes_validate.validate(document, "1.33", strict=True)


def test_the_schema_is_strict():
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**kind("Namespace")["ays"], "spek": {}}, "1.33", strict=True)


def test_every_file_is_used():
    assert {path.name for path in FOLDER.glob("*.yaml")} == {*KUSTOMIZATION["resources"], "kustomization.yaml", *EXAMPLES}
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
    for name in ("service", "worker", "keys"):
        assert PODS[name]["spec"]["securityContext"]["runAsUser"] == int(user)
    image = {image["name"]: f"{image['name']}:{image['newTag']}" for image in KUSTOMIZATION["images"]}["ays-service"]
    assert PODS["keys"]["spec"]["containers"][0]["image"] == image


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
        assert final[name].command("CMD") == ["python", "-P", "-m", name]
    assert PODS["worker"]["spec"]["containers"][0]["readinessProbe"]["exec"]["command"] == final["worker"].command("HEALTHCHECK")


def test_a_pod_is_given_the_password_of_its_own_user_alone_as_a_file():
    made = set(kind("Secret")["ays"]["stringData"])
    for name, user in {"service": "service", "worker": "worker", "keys": "operator"}.items():
        spec = PODS[name]["spec"]
        environment = {each["name"]: each["value"] for each in spec["containers"][0]["env"]}
        (secret,) = [volume["secret"] for volume in spec["volumes"] if "secret" in volume]
        (item,) = secret["items"]
        assert (item["key"], item["key"] in made) == (f"redis-{user}-password", True)
        assert environment["AYS_REDIS_URL"] == f"redis://{user}@redis:6379/0"
        assert environment["AYS_REDIS_PASSWORD_FILE"] == f"/run/secrets/ays/{item['path']}"
        # Owned by root: it is the group that reads it.
        assert (secret["defaultMode"], spec["securityContext"]["fsGroup"]) == (0o440, spec["securityContext"]["runAsGroup"])
    environment = {each["name"]: each["value"] for each in PODS["redis"]["spec"]["containers"][0]["env"]}
    files = {path.removeprefix("/run/secrets/ays/") for variable, path in environment.items() if variable.endswith("_FILE")}
    assert files == made
    text = "".join((FOLDER / name).read_text() for name in KUSTOMIZATION["resources"])
    assert "secretKeyRef" not in text


def test_redis_starts_as_under_compose_and_keeps_what_it_is_given():
    (script,) = [kind("ConfigMap")["redis-start"]["data"]["start.sh"]]
    assert script == (ROOT / "deploy/redis/start.sh").read_text()
    (container,) = PODS["redis"]["spec"]["containers"]
    assert container["command"] == ["sh", "/scripts/start.sh"]
    words = container["args"]
    given = dict(zip(words[::2], words[1::2], strict=True))
    limit = given.pop("--maxmemory")
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["redis"]["command"]
    there = dict(zip(compose[::2], compose[1::2], strict=True))
    assert there.pop("--maxmemory")
    assert given == {**there, "--dir": "/data"}
    assert int(limit.removesuffix("gb")) < int(container["resources"]["limits"]["memory"].removesuffix("Gi"))


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
    metrics.watch(lambda: Stats({}, {Priority.INTERACTIVE: 2, Priority.BATCH: 1}, {}, 1, 1, 0, 0, {}, webhooks=0))
    # KEDA reads it by its name, without labels.
    assert f"\n{metadata['valueLocation']} 4.0\n" in metrics.text().decode()
