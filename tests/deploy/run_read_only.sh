#!/bin/sh
# Runs a command in an unpacked image without a container engine, as a strict cluster would: user 65532, no rights to be
# gained, and a root that cannot be written to but for /tmp and the data folder.
#   run_read_only.sh ROOT CACHE NAME=VALUE... COMMAND...
set -eu
root=$1 cache=$2
shift 2
exec unshare --mount --propagation private sh -eu -c '
  root=$0 cache=$1
  shift
  mount --bind "$root" "$root"
  mount -o remount,bind,ro "$root"
  mount --bind "$cache" "$root/var/cache/wardgate"
  mount -o remount,bind,ro "$root/var/cache/wardgate"
  mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
  mount -t tmpfs -o uid=65532,gid=65532,mode=0750 tmpfs "$root/var/lib/wardgate"
  mount -t proc proc "$root/proc"
  mount --bind /sys "$root/sys"
  mount -o remount,bind,ro "$root/sys"
  mount -t tmpfs tmpfs "$root/dev"
  for device in null zero urandom; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
  done
  mkdir -m 1777 "$root/dev/shm"
  exec setpriv --no-new-privs unshare --root "$root" --wd /var/lib/wardgate --setgid 65532 --setuid 65532 \
    /usr/bin/env -i "$@"
' "$root" "$cache" "$@"
