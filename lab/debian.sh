#!/usr/bin/env bash
# Brings the Debian packages that the real site needs; says nothing and is quick when they are there.
#
# Their daemons must not start: the lab runs its own, in a network namespace. Where a policy against
# that exists already (containers have one), it is left as it is.
set -euo pipefail

list=$(dirname "$0")/packages.txt
mapfile -t wanted < <(sed 's/#.*//' "$list" | grep -o '[^[:space:]]\+')

if ! command -v dpkg-query apt-get >/dev/null; then
  echo "This is not Debian: only the simulated site and the fast tests can run here."
  exit 0
fi

mapfile -t missing < <(
  for package in "${wanted[@]}"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || echo "$package"
  done
)

# The lab's images are made from packages that are downloaded and not installed; an index that is
# missing or old names files that the archive no longer has.
recent=$(find /var/lib/apt/lists -maxdepth 1 -name '*Release' -mtime -7 -print -quit 2>/dev/null || true)

if [ "$(id -u)" != 0 ]; then
  if [ ${#missing[@]} -gt 0 ]; then
    echo "Without root these Debian packages stay missing, and with them the real site: ${missing[*]}"
  fi
  exit 0
fi

if [ -z "$recent" ] || [ ${#missing[@]} -gt 0 ]; then
  apt-get -qq -o Acquire::Retries=3 update
fi
[ ${#missing[@]} -gt 0 ] || exit 0

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi
echo "Installing Debian packages: ${missing[*]}"
said=$(DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Acquire::Retries=3 \
  install --no-install-recommends "${missing[@]}" 2>&1) || { echo "$said" >&2; exit 1; }
