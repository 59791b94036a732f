# Two images: `docker build --target service .` (slim, no torch) and `docker build --target worker .` (torch).
# The worker's torch is the one that pip finds by default, which on Linux x86_64 is built for CUDA and brings its libraries: with the
# NVIDIA container toolkit on the host it uses the GPU that it is given, without it computes on the CPU.
# docker compose builds and connects both: docker-compose.yml.
#
# TORCH_INDEX names another index for torch, such as that of PyTorch's builds for CPU (an image without 4 GB of CUDA) or for another CUDA:
#   docker build --target worker --build-arg TORCH_INDEX=https://... .

FROM python:3.12-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/opt/ays/bin:$PATH
RUN useradd --system --uid 10001 --create-home ays


FROM base AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY constraints.txt pyproject.toml README.md ./
RUN python -m venv /opt/ays && pip install --constraint constraints.txt setuptools


# What changes rarely comes first: without our packages, pip installs what they need.
FROM build AS build-service
RUN pip install --constraint constraints.txt --no-build-isolation '.[service,otel]'
COPY ays_client ays_client
COPY ays_process ays_process
COPY ays_store ays_store
COPY service service
RUN pip install --no-deps --no-build-isolation --force-reinstall .


FROM build AS build-worker
ARG TORCH_INDEX=
# Of the same version, wherever it comes from; what follows finds it installed.
RUN if [ -n "$TORCH_INDEX" ]; then pip install --constraint constraints.txt --index-url "$TORCH_INDEX" torch; fi \
    && pip install --constraint constraints.txt --no-build-isolation '.[worker,train,otel]'
COPY ays_client ays_client
COPY ays_process ays_process
COPY ays_store ays_store
COPY worker worker
RUN pip install --no-deps --no-build-isolation --force-reinstall .


FROM base AS service
COPY --from=build-service /opt/ays /opt/ays
USER 10001
WORKDIR /home/ays
ENV AYS_HOST=0.0.0.0 AYS_PORT=8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"AYS_PORT\"]}/healthz', timeout=2)"]
STOPSIGNAL SIGTERM
CMD ["python", "-P", "-m", "service"]


FROM base AS worker
# Triton, which torch.compile uses, builds its launchers with a C compiler.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc=4:* libc6-dev=2.* && rm -rf /var/lib/apt/lists/*
COPY --from=build-worker /opt/ays /opt/ays
USER 10001
WORKDIR /home/ays
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
# The only place that can be written to where the root is read-only.
ENV TRITON_CACHE_DIR=/tmp/triton TORCHINDUCTOR_CACHE_DIR=/tmp/inductor
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=3 \
  CMD ["python", "-P", "-m", "worker.process.alive"]
STOPSIGNAL SIGTERM
CMD ["python", "-P", "-m", "worker"]
