#!/bin/sh
# Installs what Debian 12 or Ubuntu 24.04 lack to build heft. Each argument is a set: build, tests, bench, fuzz, lint
# (no argument: build). Only missing packages are installed; when none is missing, apt is not called at all.
set -eu

packages() {
  case $1 in
    build)
      echo g++ meson ninja-build pkg-config
      echo libboost-dev libfmt-dev libdeflate-dev libisal-dev libcbor-dev libmpack-dev libre2-dev libhwy-dev liburing-dev libnuma-dev
      echo libcli11-dev libssl-dev
      ;;
    tests) echo doctest-dev libsimdjson-dev binutils ;;
    bench) echo libbenchmark-dev ;;
    fuzz) echo clang-16 libclang-rt-16-dev ;;
    lint) echo clang-tidy-16 ;;
    *) echo "setup.sh: no set is called '$1' (build, tests, bench, fuzz, lint)" >&2; return 2 ;;
  esac
}

installed() {
  [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

[ $# -gt 0 ] || set -- build
wanted=
for set in "$@"; do
  wanted="$wanted $(packages "$set")"
done

if ! command -v dpkg-query >/dev/null; then
  echo "setup.sh: not a Debian system; Meson will name what is missing. The Debian names:" $wanted >&2
  exit 0
fi

missing=
for package in $wanted; do
  installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "setup.sh: installing$missing"
as_root apt-get update
as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install --yes --no-install-recommends $missing
