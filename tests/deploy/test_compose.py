"""The compose files are valid, hold what production asks for, and agree with the images and the settings."""

import re
import subprocess

import pytest
import yaml

from ays_process.environment import variables_of
from service.settings import Settings as ServiceSettings
from tests.deploy.dockerfile import ROOT, stages
from worker.process.settings import Settings as WorkerSettings

FILES = ["docker-compose.yml", "deploy/compose/gpu.yml"]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]


@pytest.mark.parametrize("name", FILES)
def test_the_schema_takes_it(name):
    compose = pytest.importorskip("compose_spec", reason="compose-spec has no wheel for this platform").PyCompose
    text = (ROOT / name).read_text()
    compose.from_yaml(text).validate()
    with pytest.raises(ValueError, match="bogus"):
        compose.from_yaml(re.sub(r"^    (image|deploy):", "    bogus:", text, count=1, flags=re.MULTILINE))


def test_the_gpu_is_given_to_a_service_that_there_is():
    override = yaml.safe_load((ROOT / "deploy/compose/gpu.yml").read_text())
    assert set(override["services"]) <= set(SERVICES)
    (device,) = override["services"]["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"], len(device["device_ids"])) == ("nvidia", ["gpu"], 1)


def test_what_is_not_asked_for_stays_on_this_host_and_unprivileged():
    for name, service in SERVICES.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert service["restart"] == ("no" if name == "keys" else "unless-stopped"), name
        assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"]), name
        if "image" in service:
            assert re.search(r":v?\d+\.\d+", service["image"]), f"{name} has no pinned image"
    assert {name for name, service in SERVICES.items() if "profiles" not in service} == {"redis", "service", "worker"}


def test_redis_keeps_what_it_is_given():
    words = SERVICES["redis"]["command"]
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert given == {"--appendonly": "yes", "--appendfsync": "always", "--save": "", "--maxmemory": "${AYS_REDIS_MEMORY:-2gb}"} | {
        "--maxmemory-policy": "noeviction"
    }
    assert "redis:/data" in SERVICES["redis"]["volumes"]


def test_it_builds_stages_that_there_are_and_sets_variables_that_are_read():
    built = {"service": ServiceSettings, "worker": WorkerSettings}
    final = stages((ROOT / "Dockerfile").read_text())
    for name, settings in built.items():
        target = SERVICES[name]["build"]["target"]
        assert (target, target in final) == (name, True)
        named = {line for line in SERVICES[name]["environment"] if line.startswith("AYS_")}
        assert named <= variables_of(settings)


def test_everyone_is_given_the_passwords_that_it_uses_as_files_and_no_others():
    for name, service in SERVICES.items():
        environment = service.get("environment", {})
        named = {path.removeprefix("/run/secrets/") for variable, path in environment.items() if variable.endswith("_FILE")}
        assert named == set(service.get("secrets", [])), name
        assert not [variable for variable in environment if variable.endswith("PASSWORD")], name
        user = environment.get("AYS_REDIS_URL", "").removeprefix("redis://").partition("@")[0]
        assert not user or named == {f"redis-{user}-password"}, name
    assert {SERVICES[name]["environment"]["AYS_REDIS_URL"] for name in ("service", "worker", "keys")} == {
        f"redis://{user}@redis:6379/0" for user in ("service", "worker", "operator")
    }


def test_the_passwords_are_made_once_and_kept_from_others(tmp_path):
    folder = tmp_path / "secrets"
    for _ in range(2):
        subprocess.run([ROOT / "deploy/redis/passwords.sh", folder], check=True, timeout=10)
        made = {path.name: path.read_text() for path in folder.iterdir()}
    assert {f"./secrets/{name}" for name in made} == {secret["file"] for secret in COMPOSE["secrets"].values()}
    assert all(re.fullmatch("[0-9a-f]{64}", password) for password in made.values())
    assert len(set(made.values())) == 3
    assert folder.stat().st_mode & 0o077 == 0
    (folder / "redis-worker-password").unlink()
    subprocess.run([ROOT / "deploy/redis/passwords.sh", folder], check=True, timeout=10)
    again = {path.name: path.read_text() for path in folder.iterdir()}
    assert {name for name in made if made[name] != again[name]} == {"redis-worker-password"}
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_a_worker_is_given_the_time_to_hand_its_job_back():
    assert int(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) > WorkerSettings.model_fields["drain_seconds"].default


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_files_that_are_mounted_exist(name):
    sources = [volume.split(":")[0] for volume in SERVICES[name]["volumes"]]
    for source in sources:
        assert source in COMPOSE["volumes"] or (ROOT / source).is_dir(), source
