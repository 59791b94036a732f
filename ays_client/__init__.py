"""Client of the schedule service: httpx2 and pydantic only."""
