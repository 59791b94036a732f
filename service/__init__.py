"""The front door: HTTP API, command line, embedded Redis. Never imports torch."""
