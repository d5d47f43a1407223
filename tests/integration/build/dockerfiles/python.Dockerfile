FROM python:3.12 AS builder
ENV PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
ENV VIRTUAL_ENV=/opt/venv
ENV PATH="$VIRTUAL_ENV/bin:$PATH"
COPY requirements.txt /tmp/requirements.txt
RUN pip install --upgrade -r /tmp/requirements.txt

FROM python:3.12-slim
LABEL maintainer="Jane Doe <jane@example.org>"
ARG UID=10001
ARG DEBIAN_FRONTEND=noninteractive
RUN adduser \
    --disabled-password \
    --gecos "" \
    --home "/nonexistent" \
    --shell "/sbin/nologin" \
    --no-create-home \
    --uid "${UID}" \
    appuser
COPY --from=builder /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /code
COPY --chown=appuser ./app ./app
USER ${UID}
VOLUME ["/data", "/var/$UID"]
STOPSIGNAL SIGINT
ENTRYPOINT ["gunicorn"]
CMD ["--bind=0.0.0.0:8000", "app:app"]
