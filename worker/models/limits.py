"""Largest sizes of files that are read, in bytes: what is larger is refused before any of it is."""

LARGEST_MODEL = 2**37
"""Default for the weights of one component of a pipeline (`AYS_MODEL_MAX_BYTES`): twice the largest network of the families."""

LARGEST_HEADER = 100_000_000
"""Header of a safetensors file: the format's own limit."""

LARGEST_JSON = 2**25
"""Configuration file: an index of weights of many shards takes one or two million."""
