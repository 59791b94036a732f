#!/usr/bin/env bash
# The API with nothing but curl: ask for a schedule, watch, fetch it for ComfyUI. Needs `ays serve` (AYS_URL names another address).
set -euo pipefail
url=${AYS_URL:-http://127.0.0.1:8000}
model=${1:-digits}

job=$(curl --fail-with-body -sS "$url/v1/jobs" -H 'content-type: application/json' \
  -d "{\"model\": \"$model\", \"nfe\": 8, \"solver\": \"dpmpp_2m\"}")
id=$(sed -E 's/^[^}]*"id": ?"([0-9a-f]+)".*/\1/' <<<"$job")

curl --fail-with-body -sSN "$url/v1/jobs/$id/events" >&2 # ends when the job does
curl --fail-with-body -sS "$url/v1/schedules?model=$model&nfe=8&solver=dpmpp_2m&format=comfyui"
