# Two images: `docker build --target service .` (no torch) and `docker build --target worker .` (torch; uses a GPU when it is given one).
# docker compose builds and connects both: docker-compose.yml.

FROM python:3.12-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --system --uid 10001 --create-home ays
WORKDIR /app
COPY constraints.txt ./
RUN pip install --constraint constraints.txt setuptools


FROM base AS service
COPY pyproject.toml README.md ./
COPY ays_client ays_client
COPY ays_process ays_process
COPY ays_store ays_store
COPY service service
RUN pip install --constraint constraints.txt --no-build-isolation '.[service]'
USER ays
WORKDIR /home/ays
ENV AYS_HOST=0.0.0.0 AYS_PORT=8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
STOPSIGNAL SIGTERM
CMD ["python", "-m", "service"]


FROM base AS worker
COPY pyproject.toml README.md ./
COPY ays_client ays_client
COPY ays_process ays_process
COPY ays_store ays_store
COPY worker worker
RUN pip install --constraint constraints.txt --no-build-isolation '.[worker,train]'
USER ays
WORKDIR /home/ays
# Healthy: Redis answers this worker's own client. That it takes jobs is what the API's /readyz watches, by its heartbeat.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, redis; redis.Redis.from_url(os.environ['AYS_REDIS_URL'], socket_timeout=3).ping()"]
STOPSIGNAL SIGTERM
CMD ["python", "-m", "worker"]
