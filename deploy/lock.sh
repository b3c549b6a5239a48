#!/usr/bin/env bash
# Writes deploy/locks/: what goes into each image, pinned and hashed. Versions come from constraints.txt, so `make
# constraints` first. With TORCH_INDEX, the address of an index of CPU builds, torch's own lock is written anew too.
set -euo pipefail
cd "$(dirname "$0")/.."
locks=deploy/locks
uv=.cache/image-tools/bin/uv

# One lock for every Python and machine that the image can have: markers stay in it.
compile() { "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
  --custom-compile-command 'make locks' "$@"; }

for name in build pip tools; do
  compile "$locks/$name.in" --output-file "$locks/$name.txt"
done
compile pyproject.toml --constraint constraints.txt --extra postgres --output-file "$locks/scorer.txt"
compile pyproject.toml --constraint constraints.txt --extra postgres --extra local --extra train \
  --output-file "$locks/gpu.txt"
# The index's torch is the CUDA build. The CPU build asks for none of CUDA's packages, and has a lock of its own.
awk '/^[a-z]/ { cuda = /^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==/ } !cuda' "$locks/gpu.txt" >"$locks/full.txt"

torch=$(grep '^torch==' constraints.txt)
if [ -n "${TORCH_INDEX:-}" ]; then
  echo "$torch+cpu" | compile - --no-deps --no-emit-index-url --index-url "$TORCH_INDEX" | sed 's/+cpu//' >"$locks/torch-cpu.txt"
elif ! grep -q "^$torch " "$locks/torch-cpu.txt"; then
  echo "lock.sh: $locks/torch-cpu.txt is not of $torch; run: make locks TORCH_INDEX=address" >&2
  exit 1
fi
