"""Schedules: lookups, their cache, and what is served when no schedule is stored."""
