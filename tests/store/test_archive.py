import io
import json
import tracemalloc
from pathlib import Path

import pytest

from ays_client.contract import Effort, Method, Model, Solver, Terminal
from ays_store import ArchiveError
from tests.store.archives import TABLE, commit, exported, fill, imported, opened, profile, results, schedule, sealed

OLD = Path(__file__).parent / "data" / "archive-1.jsonl"
CELL = {"solver": Solver.DPMPP_2M, "terminal": Terminal.ZERO, "nfe": 4}


def test_what_was_exported_comes_back_bit_for_bit(store, redis):
    fill(store)
    before, raw = results(redis), exported(store)
    redis.flushall()
    done = imported(store, raw)
    assert results(redis) == before
    assert (done.tables, done.kept, done.curves, done.cells) == (4, 0, 1, 12)
    assert done.schedules == len([key for key in before if key.startswith(b"ays:2:schedule:")])
    again = imported(store, raw)
    assert (again.schedules, again.cells, results(redis)) == (0, 0, before)
    assert exported(store) == raw


def test_an_archive_of_the_first_contract_is_refused(store, redis):
    """Its schedules were accepted under rules that no longer hold: none of them is served as an answer of this version."""
    with pytest.raises(ArchiveError) as refused:
        imported(store, OLD.read_bytes())
    assert "line 1: received an archive of contract 1; expected contract 2" in str(refused.value)
    assert "ask for its schedules again" in str(refused.value)
    assert results(redis) == {}


def test_models_and_curves_can_be_chosen(store, redis):
    fill(store)
    some = exported(store, models=["other"])
    assert {json.loads(line).get("model") for line in opened(some)} == {None, "other"}
    assert b"curve-" not in exported(store, curves=False)
    raw = exported(store)
    redis.flushall()
    assert imported(store, raw, models=["other"]).tables == 1
    assert store.results.variants("toy") == []
    assert len(store.results.variants("other")) == 1


def test_what_is_better_here_stays(store, redis):
    commit(store, schedule(), of=profile(created_at=5.0))
    lesser = exported(store)
    best = commit(store, schedule(effort=Effort.MAX, validated=True), effort=Effort.MAX, nfe=4)
    before = results(redis)
    assert imported(store, lesser).cells == 0
    assert results(redis) == before
    better = exported(store)
    redis.flushall()
    imported(store, lesser)
    assert imported(store, better).cells == 1
    assert store.results.cell(TABLE, **CELL) == (best.id, 3)


def test_a_newer_profile_of_the_same_weights_wins_in_either_order(store, redis):
    files = []
    for age in (1.0, 2.0):
        redis.flushall()
        commit(store, schedule(shift=age), of=profile(created_at=age))
        files.append(exported(store))
    ends = []
    for order in (files, files[::-1]):
        redis.flushall()
        for raw in order:
            imported(store, raw)
        ends.append((store.results.profile(TABLE).created_at, store.results.cell(TABLE, **CELL)))
    assert ends == [(2.0, (schedule(shift=2.0).id, 0))] * 2


def test_other_weights_replace_older_ones_only_and_never_those_of_the_worker(store, redis):
    commit(store, schedule(fingerprint="f1"), of=profile(fingerprint="f1", created_at=9.0))
    newer = exported(store)
    redis.flushall()
    commit(store, schedule(), of=profile(created_at=5.0))
    mine, before = exported(store), results(redis)
    store.models.publish([Model(id="toy", title="Toy", fingerprint="f0")], source="host")
    done = imported(store, newer)
    assert (done.kept, done.cells, done.other_weights) == (1, 0, {"toy"})
    assert store.results.cell(TABLE, **CELL).schedule_id == schedule().id
    assert results(redis).keys() > before.keys(), "by its id it is served"
    store.models.publish([], source="host")
    assert imported(store, newer).kept == 0
    assert store.results.profile(TABLE).fingerprint == "f1"
    assert store.results.cells(TABLE).keys() == {(CELL["solver"], CELL["terminal"], 4)}
    assert imported(store, mine).kept == 1, "older, and of weights that nobody has"


@pytest.fixture
def archive(store, redis):
    fill(store)
    raw = exported(store)
    redis.flushall()
    return raw


def swapped(lines, number, changes):
    """The lines with fields of one of them, or of its body, changed."""
    line = json.loads(lines[number])
    for name, value in changes.items():
        if name in line or name == "extra":
            line[name] = value
        else:
            inner = json.loads(line["body"]) | {name: value}
            line["body"] = json.dumps(inner, separators=(",", ":"))
    return [*lines[:number], json.dumps(line).encode(), *lines[number + 1 :]]


def kinds(lines):
    return [json.loads(line)["kind"] for line in lines]


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("header", {"version": 2}, "line 1: received an archive of version 2; expected version 1; use a newer version of `ays`"),
        ("header", {"contract": 3}, "an archive of contract 3; expected contract 2; use a newer version of `ays`"),
        ("header", {"format": "zip"}, "format = 'zip'"),
        ("table", {"id": "0" * 32}, "received the table '00000000000000000000000000000000'"),
        ("table", {"model": "../x"}, "String should match pattern"),
        ("table", {"created_at": "soon"}, "table.created_at = 'soon'"),
        ("profile", {"id": "0" * 32}, "expected that of the table"),
        ("profile", {"levels": [1.0, 2.0]}, "do not fit each other"),
        ("profile", {"fingerprint": "f9"}, "and its weights"),
        ("schedule", {"id": "0" * 32}, "the address of its content"),
        ("schedule", {"sigmas": [1.0, 0.0]}, "the address of its content"),
        ("schedule", {"extra": 1}, "schedule.extra = 1"),
        ("schedule", {"formats": {"diffusers": "https://elsewhere"}}, "links of the schedule"),
        ("samples", {"image": "javascript:1"}, "expected a PNG"),
        ("samples", {"schedule_id": "x"}, "received samples of 'x'"),
        ("curve", {"loss": [1.0] * 10}, "which decides no schedule"),
        ("end", {"lines": 99}, "expected 99, as it says"),
    ],
)
def test_hostile_content_is_refused_whole(store, redis, archive, kind, changes, message):
    lines = opened(archive)
    with pytest.raises(ArchiveError) as refused:
        imported(store, sealed(swapped(lines, kinds(lines).index(kind), changes)))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert results(redis) == {}


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda raw: raw[:-100], "cut off"),
        (lambda raw: raw[: raw.rindex(b'{"sha256"')], "it is cut off; copy or export it again"),
        (lambda raw: raw.replace(b"80.0", b"80.5", 1), "a line whose checksum is not its own"),
        (lambda raw: raw + b"{}\n", "expected one archive in a file"),
        (lambda raw: b"".join(raw.splitlines(keepends=True)[:1] + raw.splitlines(keepends=True)[2:]), "lines"),
        (lambda _: b"PK\x03\x04", "expected a line that begins with its checksum"),
        (lambda _: b"", "line 1: received the end of the file"),
        (lambda raw: sealed(opened(raw)[1:]), "expected the header of an archive"),
        (lambda raw: sealed([*opened(raw)[:2], b'{"kind":' + b"[" * 100_000]), "nested too deeply"),
        (lambda raw: sealed([*opened(raw)[:1], b'{"kind":"end","kind":"end","lines":1}']), "has a name twice"),
        (lambda raw: sealed([*opened(raw)[:1], b'{"kind":"end","lines":NaN}']), "NaN is no number"),
        (lambda raw: sealed([*opened(raw)[:1], b'{"kind":"end","lines":' + b"9" * 5000 + b"}"]), "not good JSON"),
        (lambda raw: sealed([*opened(raw)[:1], b'{"kind":"end\xff","lines":1}']), "not good JSON"),
        (lambda raw: sealed([*opened(raw)[:1], *opened(raw)]), "not in the order of an archive"),
        (lambda raw: sealed(opened(raw)[:3]), "a table without an end"),
    ],
)
def test_a_damaged_file_is_refused_whole(store, redis, archive, harm, message):
    with pytest.raises(ArchiveError) as refused:
        imported(store, harm(archive))
    assert message in str(refused.value)
    assert len(str(refused.value)) < 400
    assert results(redis) == {}


def test_a_method_does_not_slip_into_the_table_of_another(store, archive):
    lines = opened(archive)
    paper = next(line for line in lines if b'\\"method\\":\\"paper\\"' in line)
    at = kinds(lines).index("end")
    end = json.loads(lines[at])
    longer = json.dumps(end | {"lines": end["lines"] + 1}).encode()
    with pytest.raises(ArchiveError, match=f"expected one of other, {Method.PROFILE.value}, and its weights|toy"):
        imported(store, sealed([*lines[:at], paper, longer, *lines[at + 1 :]]))


class Sink(io.RawIOBase):
    """Counts what is written to it."""

    size = 0

    def writable(self):
        return True

    def write(self, raw):
        self.size += len(raw)
        return len(raw)


def test_memory_does_not_grow_with_the_number_of_tables(store, redis):
    def peak(tables):
        redis.flushall()
        for number in range(tables):
            cells = [
                schedule(model=f"m{number}", nfe=nfe, solver=solver) for nfe in range(2, 34, 2) for solver in [Solver.DDIM, Solver.EULER]
            ]
            commit(store, *cells, of=profile(model=f"m{number}"))
        # Fills pydantic's cache of short strings, which is bounded; some push others out.
        store.exporter.write(Sink())
        tracemalloc.start()
        sink = Sink()
        store.exporter.write(sink)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top, sink.size

    peak(1)
    (few, small), (many, large) = peak(4), peak(24)
    assert large > 5.5 * small
    # The address of every schedule that was written, and nothing else; a schedule has some 2 kB.
    assert (many - few) / (20 * 32) < 400
