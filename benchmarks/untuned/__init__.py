"""Models that no constant of any search was chosen on, each trained by a script of its own; what each one is stands in its README.md."""
