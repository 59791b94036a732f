"""The names of all our Redis keys, in one place; `docs/redis.md` describes what each holds, who writes it and how long it lives.

The number in the prefix is the contract's version: a deployment under other rules never reads these keys.
"""

from ays_client.contract import CONTRACT_VERSION

PREFIX = f"ays:{CONTRACT_VERSION}:"

JOBS = f"{PREFIX}jobs"
LEASES = f"{PREFIX}leases"
CLOCK = f"{PREFIX}clock"
MODELS = f"{PREFIX}models"
MODEL_INDEX = f"{PREFIX}models:index"
MODEL_SOURCES = f"{PREFIX}models:sources"
FINGERPRINTS = f"{PREFIX}models:fingerprints"
WORKERS = f"{PREFIX}workers"
REAPER = f"{PREFIX}reaper"
COUNTERS = f"{PREFIX}counters"
WAITING = f"{PREFIX}waiting"
TURNS = f"{PREFIX}turns"
PROBE = f"{PREFIX}probe"
SCHEMA = f"{PREFIX}schema"
API_KEYS_USED = f"{PREFIX}keys:used"
DELIVERIES = f"{PREFIX}deliveries"
USED = f"{PREFIX}used"

API_KEYS = "ays:keys:1"
"""Outside the prefix: the user of the service may read it and not write it."""


def job(job_id: str) -> str:
    """The record of a job."""
    return f"{PREFIX}job:{job_id}"


def events(job_id: str) -> str:
    """The stream of a job's events."""
    return f"{PREFIX}events:{job_id}"


def jobs_in(state: str) -> str:
    """The jobs in a state, by creation time."""
    return f"{PREFIX}jobs:state:{state}"


def jobs_of(model: str) -> str:
    """The jobs of a model, by creation time."""
    return f"{PREFIX}jobs:model:{model}"


def jobs_of_in(model: str, state: str) -> str:
    """The jobs of a model in a state, by creation time."""
    return f"{PREFIX}jobs:model:{model}:{state}"


def jobs_by(owner: str) -> str:
    """The jobs that an owner has asked for, by creation time."""
    return f"{PREFIX}jobs:owner:{owner}"


def interest(job_id: str) -> str:
    """Who has asked for a job, and whether they still want it."""
    return f"{PREFIX}interest:{job_id}"


def waiting_as(priority: str) -> str:
    """The waiting jobs of a priority, by creation time."""
    return f"{PREFIX}waiting:priority:{priority}"


def waiting_of(owner: str) -> str:
    """The waiting jobs of an owner, by their turns."""
    return f"{PREFIX}waiting:owner:{owner}"


def profile(profile_id: str) -> str:
    """A measured profile."""
    return f"{PREFIX}profile:{profile_id}"


def shards(profile_id: str) -> str:
    """The finished shards of a profile that is still being measured."""
    return f"{PREFIX}shards:{profile_id}"


def open_shards(measurement: str) -> str:
    """The shards of a measurement (`profile/fingerprint`) that are wanted and not finished."""
    return f"{PREFIX}shards:open:{measurement}"


def held_shards(measurement: str) -> str:
    """Who is at each of them."""
    return f"{PREFIX}shards:held:{measurement}"


def checkpoint(job_id: str) -> str:
    """What a running job has finished so far."""
    return f"{PREFIX}checkpoint:{job_id}"


def cells(table: str) -> str:
    """The aliases of a table: which schedule answers (solver, terminal, nfe)."""
    return f"{PREFIX}cells:{table}"


def schedule(schedule_id: str) -> str:
    """A schedule, content-addressed."""
    return f"{PREFIX}schedule:{schedule_id}"


def unlisted(table: str) -> str:
    """The schedules of a table that no alias names (any more)."""
    return f"{PREFIX}unlisted:{table}"


def curve(curve_id: str) -> str:
    """A loss curve."""
    return f"{PREFIX}curve:{curve_id}"


def samples(schedule_id: str) -> str:
    """Samples drawn with a schedule."""
    return f"{PREFIX}samples:{schedule_id}"


def variants(model: str) -> str:
    """The tables of a model, one for each variant and method."""
    return f"{PREFIX}variants:{model}"


def worker(name: str) -> str:
    """What a worker says about itself."""
    return f"{PREFIX}worker:{name}"


def dead(worker: str) -> str:
    """A worker that has surely died: whatever it holds is free."""
    return f"{PREFIX}dead:{worker}"


def rate(bucket: str) -> str:
    """How full a bucket of requests is."""
    return f"{PREFIX}rate:{bucket}"


def webhooks(job_id: str) -> str:
    """The URLs that want to be told of the end of a job."""
    return f"{PREFIX}webhooks:{job_id}"


def delivery(message: str) -> str:
    """A message for one of them that has not arrived yet."""
    return f"{PREFIX}delivery:{message}"


LUA = f"""
local JOBS, LEASES, CLOCK, WORKERS, COUNTERS = '{JOBS}', '{LEASES}', '{CLOCK}', '{WORKERS}', '{COUNTERS}'
local DELIVERIES, USED = '{DELIVERIES}', '{USED}'
local WAITING, TURNS = '{WAITING}', '{TURNS}'
local MODELS, MODEL_INDEX, MODEL_SOURCES, FINGERPRINTS = '{MODELS}', '{MODEL_INDEX}', '{MODEL_SOURCES}', '{FINGERPRINTS}'
local function key_job(id) return '{job("")}' .. id end
local function key_events(id) return '{events("")}' .. id end
local function key_jobs_in(state) return '{jobs_in("")}' .. state end
local function key_jobs_of(model) return '{jobs_of("")}' .. model end
local function key_jobs_of_in(model, state) return '{jobs_of("")}' .. model .. ':' .. state end
local function key_jobs_by(owner) return '{jobs_by("")}' .. owner end
local function key_interest(id) return '{interest("")}' .. id end
local function key_waiting_as(priority) return '{waiting_as("")}' .. priority end
local function key_waiting_of(owner) return '{waiting_of("")}' .. owner end
local function key_profile(id) return '{profile("")}' .. id end
local function key_shards(id) return '{shards("")}' .. id end
local function key_open_shards(name) return '{open_shards("")}' .. name end
local function key_held_shards(name) return '{held_shards("")}' .. name end
local function key_checkpoint(id) return '{checkpoint("")}' .. id end
local function key_cells(id) return '{cells("")}' .. id end
local function key_schedule(id) return '{schedule("")}' .. id end
local function key_unlisted(id) return '{unlisted("")}' .. id end
local function key_curve(id) return '{curve("")}' .. id end
local function key_samples(id) return '{samples("")}' .. id end
local function key_variants(model) return '{variants("")}' .. model end
local function key_worker(name) return '{worker("")}' .. name end
local function key_dead(worker) return '{dead("")}' .. worker end
local function key_rate(bucket) return '{rate("")}' .. bucket end
local function key_webhooks(id) return '{webhooks("")}' .. id end
local function key_delivery(message) return '{delivery("")}' .. message end
"""
"""The same names for the Lua scripts, which find their keys themselves (so: one Redis node, no cluster)."""
