#!/bin/sh
# Runs every scenario of bench/README.md and writes the results to bench/results: text, JSON and, if matplotlib is
# installed, pictures.
#
# usage: bench/report.sh [OPTION...]
# OPTION: those of all scenarios of heft-bench: --python P, --cache DIR, --rounds N, --no-peers
#
# Requires about 30 GB of disk in the cache folder, and an hour.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bench=$here/../build-release/bench
mkdir -p "$here/results"

run() {
  name=$1
  shift
  "$bench/heft-bench" "$@" --json "$here/results/$name.json" | tee "$here/results/$name.txt"
  python3 "$here/plot.py" "$here/results/$name.json" "$here/results" || true
}

run open-deepseek open deepseek-v3 "$@"
run open-92000-torch open 92000x1KiB --format torch "$@"
run open-resnet open resnet-152 --format torch "$@"
run open-resnet-legacy open resnet-152 --format torch-legacy "$@"
run view-llama view llama-3.2-1b "$@"
run view-resnet view resnet-152 --format torch "$@"
run materialize-llama materialize llama-3.2-1b "$@"
run materialize-llama-torch materialize llama-3.2-1b --format torch "$@"
run materialize-resnet-torch materialize resnet-152 --format torch "$@"
run materialize-resnet-legacy materialize resnet-152 --format torch-legacy "$@"
run convert-bf16 materialize llama-3.2-1b --state warm --dtype f32 "$@"
run convert-f16 materialize llama-3.2-1b --stored f16 --state warm --dtype f32 "$@"
run convert-f32 materialize llama-3.2-1b --stored f32 --state warm --dtype bf16 "$@"
run convert-f8 materialize llama-3.2-1b --stored f8_e4m3 --state warm --dtype bf16 "$@"
run transpose materialize llama-3.2-1b --state warm --transposed "$@"
run slice-llama slice llama-3.2-1b --state cold,warm "$@"
run many-tensors materialize 100000x4KiB --state warm,cold "$@"
run one-tensor materialize 1x409600000 --state warm,cold "$@"
run lists lists resnet-152 --state warm "$@"
run grow grow --state warm "$@"
run memory-llama memory llama-3.2-1b "$@"
run memory-resnet memory resnet-152 --format torch "$@"
run memory-resnet-lists memory resnet-152 --format burn-lists "$@"
run materialize-llama-8b materialize llama-3-8b --into fresh --no-forced "$@"
"$bench/heft-bench" make deepseek-v3 | xargs "$bench/heft-micro" --benchmark_out="$here/results/micro.json"
