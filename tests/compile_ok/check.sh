#!/bin/bash
# usage: check.sh FILE INCLUDE_FOLDER... Succeeds when FILE compiles without a warning.
set -u
file=$1
shift
${CXX:-c++} -std=c++20 -Wall -Wextra -Wpedantic -Werror -fsyntax-only "${@/#/-I}" "$file"
