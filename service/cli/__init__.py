"""The command line `ays`: the payload goes to standard output, progress and messages to standard error."""

from service.cli.app import main as main
