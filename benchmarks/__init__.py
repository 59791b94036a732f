"""Benchmarks: how well it works, side by side in one run."""
