#!/usr/bin/env bash
# Builds images without a daemon and without a registry: the base comes from Debian's packages, buildah builds on it.
#   deploy/build_image.sh TARGET...     scorer, full, models; MODELS=embedded bakes the weights in
# Needs root, mmdebstrap and buildah. The images are localhost/wardgate:TARGET in .cache/images.
set -euo pipefail
cd "$(dirname "$0")/.."
store=$PWD/.cache/images
mkdir -p "$store"
buildah() { command buildah --root "$store/storage" --runroot "$store/run" --storage-driver vfs "$@"; }

base() { # NAME PACKAGES: a minimal Debian
  buildah inspect --type image "localhost/$1" >/dev/null 2>&1 && return
  mkdir -p "$store/$1"
  mmdebstrap --variant=minbase --include="$2" bookworm "$store/$1/base.tar"
  printf 'FROM scratch\nADD base.tar /\n' >"$store/$1/Dockerfile"
  buildah bud --isolation chroot --tag "localhost/$1" "$store/$1"
  rm "$store/$1/base.tar"
}

# What pip is told on this machine holds in the build too: an index, certificates, folders with wheels.
options=()
printf '[global]\n' >"$store/pip.conf"
for key in index-url extra-index-url find-links cert timeout; do
  value=$(pip config get "global.$key" 2>/dev/null || pip config get ":env:.$key" 2>/dev/null || true)
  [ -z "$value" ] && continue
  echo "$key = $(echo $value)" >>"$store/pip.conf"
  for path in $value; do
    path=${path#file://}
    [ -e "$path" ] && options+=(--volume "$(realpath "$path"):$path:ro")
  done
done

base wardgate-base python3,ca-certificates
base wardgate-builder python3,ca-certificates,python3-pip
for target in "$@"; do
  buildah bud --isolation chroot --pull-never --target "$target" --tag "localhost/wardgate:$target" \
    --secret "id=pip,src=$store/pip.conf" "${options[@]}" \
    --build-arg BASE=localhost/wardgate-base --build-arg BUILDER=localhost/wardgate-builder \
    --build-arg MODELS="${MODELS:-none}" --build-arg VERSION="$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)" \
    --build-arg REVISION="$(git rev-parse HEAD)" .
done
