# One image for every process; the command chooses which.
FROM python:3.13-slim AS packages
COPY requirements.txt /tmp/requirements.txt
RUN python -m venv /opt/almanac \
    && /opt/almanac/bin/pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt

FROM python:3.13-slim
# Empty folders of the user, so that new volumes on them can be written to.
RUN install -d -m 0700 -o 10001 -g 10001 /keys /mail
COPY --from=packages /opt/almanac /opt/almanac
WORKDIR /srv/almanac
COPY alembic alembic
COPY shared shared
COPY services services
COPY gateway gateway
USER 10001:10001
CMD ["python", "-m", "shared.server", "gateway.app", "--host", "0.0.0.0", "--port", "8000"]
# Last, for they change with every build.
ARG VERSION=0.1.0
ARG GIT_SHA=unknown
LABEL org.opencontainers.image.title="Almanac" \
      org.opencontainers.image.description="Public events, their FAQs and search, as JSON:API" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$GIT_SHA"
ENV PATH=/opt/almanac/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    VERSION=$VERSION \
    GIT_SHA=$GIT_SHA
