"""The worker: measures models and optimizes their sampling schedules."""
