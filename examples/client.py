"""The API from Python: ask for a schedule, watch it being made, use its levels. Needs `ays serve`."""

import os
import sys

from ays_client import Client, JobRequest

request = JobRequest(model=sys.argv[1] if len(sys.argv) > 1 else "digits", nfe=8)

with Client(os.environ.get("AYS_URL", "http://127.0.0.1:8000")) as client:
    job = client.submit(request)
    if not job.state.final:
        for event in client.events(job.id):
            print(event.progress.stage, event.progress.done, event.progress.total, file=sys.stderr)
    schedule = client.schedule(request.model, nfe=request.nfe)

print(schedule.sigmas)
