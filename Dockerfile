# Wardgate's images; docs/image.md says how to build and run them.
#
#   scorer   scores with onnxruntime; no torch. The wrapped model is behind an OpenAI-compatible server, or absent
#   full     also the wrapped model in this process, explanations, training; torch for CPUs
#   gpu      as `full`, with torch for CUDA
#   models   fetches models into a volume, once; the only one with pip

# No HEALTHCHECK: whatever runs these images asks grpc.health.v1 or /readyz, and OCI images have no place for one.
# checkov:skip=CKV_DOCKER_2:health is asked over gRPC and HTTP
# checkov:skip=CKV_DOCKER_7:BASE has a tag; the check does not see through two ARGs

# Any Debian or Ubuntu with Python 3.11 or newer. BUILDER has pip too, and leaves nothing of itself behind.
ARG BASE=python:3.12-slim-bookworm
ARG BUILDER=${BASE}
# embedded: the image carries the embedded models' weights. none: they come from a volume.
ARG MODELS=none

# ---- Wardgate itself, as a wheel
FROM ${BUILDER} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY deploy/locks/ locks/
RUN python3 -m venv --without-pip /opt/wardgate

FROM builder AS wheel
RUN python3 -m venv --without-pip hatch
# The secret is a pip configuration, for who has an index of their own; its password stays out of every layer.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m pip --python hatch/bin/python install --require-hashes --requirement locks/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY proto/ proto/
COPY guards/ guards/
COPY service/ service/
RUN hatch/bin/hatchling build --target wheel --directory /wheel

# ---- one environment for each image, every file pinned by hash
FROM builder AS scorer-environment
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m pip --python /opt/wardgate/bin/python install --only-binary=:all: --require-hashes --no-compile \
      --requirement locks/scorer.txt
COPY deploy/slim.py ./
COPY --from=wheel /wheel/ /wheel/
RUN python3 -m pip --python /opt/wardgate/bin/python install --no-index --no-deps --no-compile /wheel/*.whl \
    && python3 -m pip --python /opt/wardgate/bin/python check \
    && PYTHONDONTWRITEBYTECODE=1 /opt/wardgate/bin/python slim.py

FROM builder AS full-environment
# The index of torch's CPU builds. torch-cpu.txt has their hashes alone, so no other build is taken by mistake.
ARG TORCH_INDEX=""
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m pip --python /opt/wardgate/bin/python install --only-binary=:all: --require-hashes --no-deps \
      ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} --requirement locks/torch-cpu.txt \
    && python3 -m pip --python /opt/wardgate/bin/python install --only-binary=:all: --require-hashes \
      --requirement locks/full.txt
COPY --from=wheel /wheel/ /wheel/
RUN python3 -m pip --python /opt/wardgate/bin/python install --no-index --no-deps /wheel/*.whl \
    && python3 -m pip --python /opt/wardgate/bin/python check

FROM full-environment AS models-environment
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m pip --python /opt/wardgate/bin/python install --require-hashes --requirement locks/pip.txt

FROM builder AS gpu-environment
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m pip --python /opt/wardgate/bin/python install --only-binary=:all: --require-hashes \
      --requirement locks/gpu.txt
COPY --from=wheel /wheel/ /wheel/
RUN python3 -m pip --python /opt/wardgate/bin/python install --no-index --no-deps /wheel/*.whl \
    && python3 -m pip --python /opt/wardgate/bin/python check

# ---- what all images stand on
FROM ${BASE} AS runtime
COPY deploy/harden.sh /tmp/harden.sh
RUN sh /tmp/harden.sh && rm /tmp/harden.sh
# Where models are kept and where the store is, by the XDG convention, so that the configuration file can say otherwise.
# Libraries send nothing about their use to anyone.
ENV PATH=/opt/wardgate/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/var/lib/wardgate \
    XDG_CACHE_HOME=/var/cache \
    XDG_DATA_HOME=/var/lib \
    HF_HOME=/var/cache/wardgate/huggingface \
    HF_HUB_DISABLE_TELEMETRY=1 \
    ORT_DISABLE_TELEMETRY=1 \
    MPLCONFIGDIR=/tmp/matplotlib
ARG VERSION=""
ARG REVISION=""
ARG SOURCE=""
LABEL org.opencontainers.image.title="wardgate" \
      org.opencontainers.image.description="The guardrail in front of a deployed language model, over gRPC." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
WORKDIR /var/lib/wardgate
USER 65532:65532
EXPOSE 50051 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["wardgate"]

# ---- models: into the cache at /var/cache/wardgate
FROM runtime AS models
COPY --from=models-environment /opt/wardgate/ /opt/wardgate/
CMD ["models", "pull"]

FROM runtime AS scorer-models-none
FROM models AS scorer-models-embedded
RUN --mount=type=secret,id=pip,target=/etc/pip.conf,uid=65532 ["wardgate", "models", "pull", "minilm-l6"]
# a stage of this file, not an image with a tag
# hadolint ignore=DL3006
FROM scorer-models-${MODELS} AS scorer-models

FROM runtime AS full-models-none
FROM models AS full-models-embedded
RUN --mount=type=secret,id=pip,target=/etc/pip.conf,uid=65532 ["wardgate", "models", "pull"]
# a stage of this file, not an image with a tag
# hadolint ignore=DL3006
FROM full-models-${MODELS} AS full-models

# ---- the images that serve
FROM runtime AS gpu
COPY --from=gpu-environment /opt/wardgate/ /opt/wardgate/
COPY --chown=65532:65532 --from=full-models /var/cache/wardgate/ /var/cache/wardgate/
COPY deploy/settings/gpu.yaml /etc/wardgate/wardgate.yaml
CMD ["serve", "--config", "/etc/wardgate/wardgate.yaml"]

FROM runtime AS full
COPY --from=full-environment /opt/wardgate/ /opt/wardgate/
COPY --chown=65532:65532 --from=full-models /var/cache/wardgate/ /var/cache/wardgate/
COPY deploy/settings/full.yaml /etc/wardgate/wardgate.yaml
CMD ["serve", "--config", "/etc/wardgate/wardgate.yaml"]

# The last, so that `docker build .` makes it.
FROM runtime AS scorer
COPY --from=scorer-environment /opt/wardgate/ /opt/wardgate/
COPY --chown=65532:65532 --from=scorer-models /var/cache/wardgate/ /var/cache/wardgate/
COPY deploy/settings/scorer.yaml /etc/wardgate/wardgate.yaml
CMD ["serve", "--config", "/etc/wardgate/wardgate.yaml"]
