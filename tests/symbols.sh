#!/bin/bash
# usage: symbols.sh LIBHEFT.SO. Fails when the library exports a symbol outside namespace heft, a private symbol, or no
# symbol.
set -u
exported=$(nm -DC --defined-only "$1" | cut -d' ' -f3-) || exit 1
[ -n "$exported" ] || { echo "$1 exports nothing"; exit 1; }

# A function made from a template is listed with its return type.
strange=$(grep -vE '^([a-z0-9_: ]+ )?heft::' <<<"$exported")
private=$(grep -E '^([a-z0-9_: ]+ )?heft::(core|mmap|format|record|kernels|engine|writer|cli)::' <<<"$exported")
[ -z "$strange" ] || printf 'exported, but not in namespace heft: %s\n' "$strange"
[ -z "$private" ] || printf 'exported, but private: %s\n' "$private"
[ -z "$strange$private" ]
