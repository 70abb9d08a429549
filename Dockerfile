# The service in one image: web pages, workers, the clock and the command line. compose.yaml shows how each is run.

# 3.13.15. CONTRIBUTING.md tells how to renew it here, below and in compose.yaml.
FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS build

WORKDIR /app
COPY requirements.production.lock .
# Wheels alone: no compiler in either stage, and nothing that its hash does not vouch for.
RUN python -m venv --without-pip /venv \
 && python -m pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check \
      --require-hashes --only-binary :all: --requirement requirements.production.lock \
 && printf '#!/bin/sh\nexec python -m mailer "$@"\n' > /venv/bin/mailer \
 && chmod +x /venv/bin/mailer
COPY mailer mailer
COPY workers workers
COPY templates templates
RUN python -m compileall -q mailer workers


FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

# The code is found by PYTHONPATH; what is written while running lies in /state.
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MAILER_STATE_DIR=/state \
    MAILER_WEB_HOST=0.0.0.0
RUN useradd --system --uid 10001 --no-create-home mailer \
 && install --directory --owner mailer --mode 700 /state
COPY --from=build /venv /venv
COPY --from=build /app /app
USER mailer
WORKDIR /app
EXPOSE 8025

# For the web pages, which is what the image runs unless told otherwise; compose.yaml has the others' checks.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --start-interval=2s --retries=3 \
  CMD ["python", "-I", "-S", "/app/workers/healthcheck.py", "web"]
CMD ["mailer", "web"]
