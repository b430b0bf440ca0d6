#!/usr/bin/env bash
# Builds the unchanged Dockerfile where no container engine runs and no registry answers, then runs the
# quickstart inside the result. FROM's name is given to a Debian base that debootstrap makes.
# Edit: nothing. Needs root, Debian's buildah and debootstrap, and about 40 GB in FOLDER for a while.
# Command: docker/prove-build.sh FOLDER
# MIRROR: a Debian mirror (default: the first that apt uses). PIP_NEEDS: files and folders of this machine
# that pip reads, shown to the build read-only (default: its configuration and the certificates).
set -euo pipefail
folder=$(realpath "${1:?a folder with room for 40 GB}")
cd "$(dirname "$0")/.."
sources=$(find /etc/apt -name sources.list -o -name '*.sources' | sort)
# shellcheck disable=SC2086  # one file or several
mirror=${MIRROR:-$(sed -nE 's/^(URIs: |deb )(\[[^]]*\] )?([^ ]+).*/\3/p' $sources | sed -n 1p)}
release=bookworm
from=python:3.11-slim-bookworm
image=mer-search:proof

grep -q "^FROM $from" docker/Dockerfile || { echo "docker/Dockerfile starts from another image than $from" >&2; exit 1; }
buildah() { command buildah --storage-driver vfs --root "$folder/storage" --runroot "$folder/run" "$@"; }
shown=()
for place in ${PIP_NEEDS:-/etc/pip.conf /etc/xdg/pip /etc/ssl/certs}; do
    [ ! -e "$place" ] || shown+=(--volume "$place:$place:ro")
done

if [ ! -x "$folder/base/usr/bin/python3" ]; then
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$release" "$folder/base" "$mirror"
fi
ln -sf /usr/bin/python3 "$folder/base/usr/local/bin/python"
if ! buildah inspect --type image "localhost/$from" >/dev/null 2>&1; then
    scratch=$(buildah from scratch)
    buildah add --quiet "$scratch" "$folder/base" /
    buildah commit --quiet --rm "$scratch" "localhost/$from"
fi
buildah build --isolation chroot --pull=never --format docker "${shown[@]}" \
    --build-arg DEVICE="${DEVICE:-cpu}" --file docker/Dockerfile --tag "$image" .
proof=$(buildah from --pull=never "localhost/$image")
trap 'buildah rm "$proof" >/dev/null' EXIT
run() { buildah run --isolation chroot "$proof" -- "$@"; }
[ "$(run id -u)" = 10001 ] || { echo "the image does not run as user 10001" >&2; exit 1; }
run mer-search --help >/dev/null
run mer-search quickstart --dir /work/demo
