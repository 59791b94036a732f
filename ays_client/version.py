"""The version of this code, as it is written into the provenance of what it computes."""

from importlib.metadata import version

VERSION = version("align-your-steps-service")
