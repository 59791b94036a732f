"""The version of this code, as it is written into the provenance of what it computes."""

VERSION = "0.1.0"
