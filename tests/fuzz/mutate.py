"""Damages values: JSON and bytes, by a seeded generator of random numbers."""

import json
import zlib

STRANGE = [
    None, True, -1, 0, 1e308, 10**400, -(10**20), "", "x" * 5000, "\ufffd\u0000", "../../etc/passwd", "nan", [], {}, [[]], {"": None},
    [1, "2", None], float("nan"), float("inf"), 2**63, "9" * 5000, 0.1,
]  # fmt: skip


def mutated_json(rng, body):
    """Bytes that were the JSON `body`: one or two places changed, or the text damaged."""
    try:
        value = json.loads(body)
    except ValueError:
        return mutated_bytes(rng, body)
    if rng.random() < 0.15:
        return b"[" * rng.choice([300, 100_000])
    for _ in range(rng.choice([1, 1, 2])):
        value = _changed(rng, value)
    raw = json.dumps(value).encode()
    return mutated_bytes(rng, raw) if rng.random() < 0.25 else raw


def mutated_bytes(rng, raw):
    """Bytes that are cut, swapped, doubled, or not UTF-8 any more."""
    at = rng.randrange(len(raw) + 1)
    match rng.randrange(6):
        case 0:
            return raw[:at]
        case 1:
            return raw[:at] + bytes([rng.randrange(128, 256)]) + raw[at + 1 :]
        case 2:
            return raw[:at] + rng.randbytes(8) + raw[at:]
        case 3:
            return raw + raw
        case 4:
            return rng.randbytes(rng.randrange(40))
    return str(rng.choice(STRANGE)).encode("utf-8", "replace")


def mutated_packed(rng, raw):
    """The same for a compressed body; sometimes one that unpacks to a hundred times as much as is allowed."""
    if rng.random() < 0.25:
        return mutated_bytes(rng, raw)
    if rng.random() < 0.05:
        return zlib.compress(b" " * (70 << 20), level=1)
    return zlib.compress(mutated_json(rng, zlib.decompress(raw)))


def _changed(rng, value):
    """The value with one place of it changed."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(sorted(value))
        match rng.randrange(5):
            case 0:
                return {key: item for key, item in value.items() if key != name}
            case 1:
                return {**value, f"{name}x": value[name]}
            case 2:
                return {**value, name: rng.choice(STRANGE)}
        return {**value, name: _changed(rng, value[name])}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        match rng.randrange(5):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return value + value[: at + 1]
            case 2:
                return [*value[:at], rng.choice(STRANGE), *value[at + 1 :]]
        return [*value[:at], _changed(rng, value[at]), *value[at + 1 :]]
    return rng.choice(STRANGE)
