#!/bin/bash
# usage: build_and_run.sh BUILD_DIR. Installs heft from BUILD_DIR into an empty folder, compiles main.cpp against it as
# a program outside the tree, with pkg-config only, and runs it and the installed command.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

DESTDIR=$place ninja -C "$1" install >"$place/install.log" || { cat "$place/install.log"; exit 1; }
pc=$(find "$place" -name heft.pc)
libdir=$(dirname "$(dirname "$pc")")
export PKG_CONFIG_PATH=${pc%/*}

flags=$(pkg-config --cflags --libs heft)
${CXX:-c++} -std=c++20 -Wall -Wextra -Werror "$here/main.cpp" $flags -o "$place/consumer"
export LD_LIBRARY_PATH=$libdir
cd "$place"
./consumer
"$(find "$place" -path '*/bin/heft')" --version
