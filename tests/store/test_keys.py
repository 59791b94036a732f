import inspect
import re
from pathlib import Path

from ays_client.contract import CONTRACT_VERSION
from ays_store import keys
from ays_store.scripts import PRELUDE

DOCUMENT = (Path(__file__).parents[2] / "docs" / "redis.md").read_text()
NAMES = {
    "job": "{job}",
    "events": "{job}",
    "jobs_in": "{state}",
    "jobs_of": "{model}",
    "jobs_by": "{owner}",
    "interest": "{job}",
    "unlisted": "{table}",
    "waiting_as": "{priority}",
    "waiting_of": "{owner}",
    "profile": "{profile}",
    "shards": "{profile}",
    "open_shards": "{profile}/{fingerprint}",
    "held_shards": "{profile}/{fingerprint}",
    "checkpoint": "{job}",
    "cells": "{table}",
    "dead": "{worker}",
    "schedule": "{schedule}",
    "samples": "{schedule}",
    "curve": "{curve}",
    "variants": "{model}",
    "worker": "{worker}",
    "rate": "{bucket}",
    "webhooks": "{job}",
    "delivery": "{message}",
}


def documented():
    return set(re.findall(r"^\| `(ays:\S+)` \|", DOCUMENT, flags=re.MULTILINE))


def known():
    constants = {value for name, value in vars(keys).items() if name.isupper() and name not in {"PREFIX", "LUA", "CONTRACT_VERSION"}}
    functions = {name: function for name, function in vars(keys).items() if inspect.isfunction(function)}
    made = {function(NAMES[name]) for name, function in functions.items() if name in NAMES}
    assert set(functions) == {*NAMES, "jobs_of_in"}
    return constants | made | {keys.jobs_of_in("{model}", "{state}")}


def test_every_key_is_documented_and_nothing_else():
    assert documented() == known()


def test_the_prefix_is_the_version_of_the_contract():
    outside = {name for name in known() if not name.startswith(f"ays:{CONTRACT_VERSION}:")}
    assert outside == {"ays:keys:1"}, "keys of the API outlive a contract"


def test_lua_has_the_same_names(redis):
    for name, argument in NAMES.items():
        script = redis.register_script(PRELUDE + f"return key_{name}(ARGV[1])")
        assert script(args=[argument]).decode() == getattr(keys, name)(argument)
    both = redis.register_script(PRELUDE + "return key_jobs_of_in(ARGV[1], ARGV[2])")
    assert both(args=["m", "queued"]).decode() == keys.jobs_of_in("m", "queued")
