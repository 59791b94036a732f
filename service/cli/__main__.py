"""`python -m service.cli`: the command line where the `ays` script is not installed."""

from service.cli.app import main

main()
