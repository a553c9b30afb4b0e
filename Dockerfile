# One image for every part of the server profile: Prefect server, worker, watcher and review pages.
# Built from the lock: PIP_CONSTRAINT holds for what builds the wheel, too.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    PIP_CONSTRAINT=/opt/neuroloom/constraints.txt \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_UI_STATIC_DIRECTORY=/home/neuroloom/ui \
    NEUROLOOM_STORE=/store

# Where PyTorch's builds without CUDA lie, on machines without a GPU: the image is a third as large.
ARG PIP_EXTRA_INDEX_URL

WORKDIR /opt/neuroloom
COPY pyproject.toml constraints.txt README.md LICENSE CHANGELOG.md ./
COPY ingest ingest
COPY models models
COPY pipeline pipeline
COPY flows flows
RUN pip install --no-cache-dir ".[server]" \
    && useradd --create-home --uid 1000 neuroloom \
    && mkdir -p /store && chown neuroloom /store

USER neuroloom
VOLUME /store
CMD ["neuroloom", "doctor"]
