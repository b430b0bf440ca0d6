#!/bin/sh
# Whether what runs in this container is well: a Ray node, an MLflow server, or a command line.
# Edit: nothing.
# Command: healthy (the image's HEALTHCHECK)
set -eu
if [ -n "${HEALTH_URL:-}" ]; then
    exec python -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=10)' "$HEALTH_URL"
elif [ -n "${RAY_GCS:-}" ]; then
    exec ray health-check --address "$RAY_GCS"
fi
exec mer-search --version
