#!/bin/sh
# Makes a base image one that can only run Wardgate: a user of its own, its folders, no package installer for Python, and
# no program that gives its caller another user's rights.
set -eu

for folder in $(python3 -c 'import sys; print(*{p for p in sys.path if p.endswith("-packages")})'); do
  rm -rf "$folder"/pip "$folder"/pip-* "$folder"/setuptools "$folder"/setuptools-* "$folder"/wheel "$folder"/wheel-*
done
rm -rf "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')/ensurepip"
rm -f /usr/local/bin/pip* /usr/bin/pip*

find / -xdev -type f -perm /6000 -exec chmod ug-s {} +

useradd --uid 65532 --user-group --no-log-init --no-create-home --home-dir /var/lib/wardgate \
  --shell /usr/sbin/nologin wardgate
install -d -o 65532 -g 65532 -m 0755 /var/lib/wardgate /var/cache/wardgate
install -d -m 0755 /etc/wardgate /opt/wardgate
