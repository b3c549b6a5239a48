#!/usr/bin/env bash
# Builds images without a daemon and without a registry: the base comes from Debian's packages, buildah builds on it.
#   deploy/build_image.sh TARGET...     scorer, full, models; MODELS=embedded bakes the weights in
# Needs root, mmdebstrap and buildah. The images are .cache/images/TARGET.tar, for `docker load`.
set -euo pipefail
cd "$(dirname "$0")/.."
store=$PWD/.cache/images
mkdir -p "$store"
export STORAGE_DRIVER=${STORAGE_DRIVER:-overlay} # vfs where the kernel or the disk has no overlays; slower
buildah() { command buildah --root "$store/$STORAGE_DRIVER" --runroot "$store/$STORAGE_DRIVER-run" "$@"; }

# What pip is told on this machine holds in the build too: an index, certificates, folders with wheels.
options=()
printf '[global]\n' >"$store/pip.conf"
while IFS='=' read -r name value; do
  key=${name##*.} value=${value//\'/}
  [[ $key =~ ^(index-url|extra-index-url|find-links|cert)$ ]] && ! grep -q "^$key = " "$store/pip.conf" || continue
  echo "$key = $value" >>"$store/pip.conf"
  for path in $value; do
    path=${path#file://} path=${path%/simple} # an index in a folder has its files beside it
    [ -e "$path" ] && options+=(--volume "$(realpath "$path"):$path:ro")
  done
done < <(pip config list)

has() { buildah inspect --type image "localhost/$1" >/dev/null 2>&1; }
if ! has wardgate-base; then
  mkdir -p "$store/base"
  [ -e "$store/base/base.tar" ] || {
    # As Debian's slim images: no pages of documentation, and merged from the start rather than by a Perl program.
    mmdebstrap --variant=minbase --include=usr-is-merged,python3,ca-certificates \
      --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --dpkgopt='path-exclude=/usr/share/doc/*' \
      --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
      bookworm "$store/base/part.tar"
    mv "$store/base/part.tar" "$store/base/base.tar"
  }
  printf 'FROM scratch\nADD base.tar /\n' >"$store/base/Dockerfile"
  buildah bud --isolation chroot --tag localhost/wardgate-base "$store/base"
fi
if ! has wardgate-builder; then
  mkdir -p "$store/builder"
  pip download --quiet --require-hashes --requirement deploy/locks/pip.txt --dest "$store/builder"
  printf '%s\n' 'FROM localhost/wardgate-base' 'COPY *.whl /' \
    'RUN PYTHONPATH=$(echo /pip-*.whl) python3 -m pip install --break-system-packages --no-index /pip-*.whl' >"$store/builder/Dockerfile"
  buildah bud --isolation chroot --pull-never --tag localhost/wardgate-builder "$store/builder"
fi

for target in "$@"; do
  buildah bud --layers --isolation chroot --pull-never --target "$target" --tag "localhost/wardgate:$target" \
    --secret "id=pip,src=$store/pip.conf" "${options[@]}" \
    --build-arg BASE=localhost/wardgate-base --build-arg BUILDER=localhost/wardgate-builder \
    --build-arg MODELS="${MODELS:-none}" --build-arg VERSION="$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)" \
    --build-arg REVISION="$(git rev-parse HEAD)" .
  rm -f "$store/$target.tar"
  buildah push "localhost/wardgate:$target" "docker-archive:$store/$target.tar:wardgate:$target"
done
