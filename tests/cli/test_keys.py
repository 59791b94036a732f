"""`ays keys`: made, listed and revoked from the shell, and used by the other commands."""

import json
import re
import stat

import pytest

from tests.cli.commands import ays, running
from tests.store.waiting import until


def test_a_key_is_printed_once_and_only_its_hash_is_kept(tmp_path):
    made = ays("keys", "create", "--name", "studio", "--scope", "submit", cwd=tmp_path)
    secret = made.stdout.strip()
    assert re.fullmatch(r"ays_[0-9a-f]{12}_[\w-]{43}", secret)
    assert made.stdout == f"{secret}\n"
    key_id = secret.split("_")[1]
    assert key_id in made.stderr
    assert secret not in made.stderr
    listed = ays("keys", "list", "--json", cwd=tmp_path)
    assert [(row["id"], row["name"], row["scope"], row["used_at"]) for row in json.loads(listed.stdout)] == [
        (key_id, "studio", "submit", None)
    ]
    shown = ays("keys", "list", cwd=tmp_path).stdout
    assert key_id in shown
    hidden = secret.removeprefix(f"ays_{key_id}_")
    assert hidden not in listed.stdout + shown
    for path in (tmp_path / ".ays").rglob("*"):
        assert path.is_dir() or stat.S_ISSOCK(path.stat().st_mode) or hidden.encode() not in path.read_bytes()
    revoked = ays("keys", "revoke", key_id, cwd=tmp_path)
    assert (revoked.returncode, "within 5 s" in revoked.stderr) == (0, True)
    assert json.loads(ays("keys", "list", "--json", cwd=tmp_path).stdout) == []
    again = ays("keys", "revoke", secret, cwd=tmp_path)
    assert (again.returncode, hidden in again.stderr) == (2, False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["create"], "--name"),
        (["create", "--name", "x", "--scope", "root"], "'read', 'submit', 'admin'"),
        (["create", "--name", "two\nlines"], "name:"),
        (["revoke"], "'key'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, words, message):
    ended = ays("keys", *words, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr


def test_a_redis_that_is_away_is_said_without_its_password(tmp_path):
    ended = ays("keys", "list", cwd=tmp_path, AYS_REDIS_URL="redis://operator:hush@127.0.0.1:1/0")
    assert (ended.returncode, "hush" in ended.stderr) == (3, False)
    assert "Redis does not answer" in ended.stderr


def test_commands_send_the_key_of_the_environment(tmp_path):
    """A service without workers that asks for keys, on loopback too; its keys are made while it runs."""
    with running("serve", "--port", "0", "--workers", "0", cwd=tmp_path, AYS_REQUIRE_KEYS="true") as command:
        command.wait_for("ready; Ctrl-C stops everything")
        url = command.out.split()[1]
        assert "ays keys create" in command.err
        without = ays("models", cwd=tmp_path, AYS_URL=url)
        assert (without.returncode, without.stdout) == (2, "")
        assert "AYS_API_KEY" in without.stderr
        secret = ays("keys", "create", "--name", "shell", cwd=tmp_path).stdout.strip()
        listed = ays("models", "--json", cwd=tmp_path, AYS_URL=url, AYS_API_KEY=secret)
        assert (listed.returncode, listed.stderr) == (0, "")
        assert json.loads(listed.stdout)
        refused = ays("optimize", "digits", cwd=tmp_path, AYS_URL=url, AYS_API_KEY=secret)
        assert (refused.returncode, "a key of scope submit" in refused.stderr) == (2, True)
        bad = ays("models", cwd=tmp_path, AYS_URL=url, AYS_API_KEY="two words")
        assert (bad.returncode, "two words" in bad.stderr, "AYS_API_KEY" in bad.stderr) == (2, False, True)
        used = json.loads(ays("keys", "list", "--json", cwd=tmp_path).stdout)[0]["used_at"]
        assert used is not None
        ays("keys", "revoke", secret.split("_")[1], cwd=tmp_path)
        until(lambda: ays("models", cwd=tmp_path, AYS_URL=url, AYS_API_KEY=secret).returncode == 2, seconds=30, what="the refusal")
        assert secret not in command.out + command.err
