#!/bin/sh
# Runs every scenario of bench/README.md and writes the results to bench/results: text, JSON and, if matplotlib is
# installed, pictures.
#
# usage: bench/report.sh [OPTION...]    options of heft-bench that all scenarios take: --python P, --cache DIR, --rounds
# N, --no-peers Requires about 30 GB of disk in the cache folder, and an hour.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bench=$here/../build-release/bench
mkdir -p "$here/results"

ask() {
  name=$1
  shift
  "$bench/heft-bench" "$@" --json "$here/results/$name.json" | tee "$here/results/$name.txt"
  python3 "$here/plot.py" "$here/results/$name.json" "$here/results" || true
}

ask open-deepseek open deepseek-v3 "$@"
ask open-92000-torch open 92000x1KiB --format torch "$@"
ask open-resnet open resnet-152 --format torch "$@"
ask open-resnet-legacy open resnet-152 --format torch-legacy "$@"
ask view-llama view llama-3.2-1b "$@"
ask view-resnet view resnet-152 --format torch "$@"
ask materialize-llama materialize llama-3.2-1b "$@"
ask materialize-llama-torch materialize llama-3.2-1b --format torch "$@"
ask materialize-resnet-torch materialize resnet-152 --format torch "$@"
ask materialize-resnet-legacy materialize resnet-152 --format torch-legacy "$@"
ask convert-bf16 materialize llama-3.2-1b --state warm --dtype f32 "$@"
ask convert-f16 materialize llama-3.2-1b --stored f16 --state warm --dtype f32 "$@"
ask convert-f32 materialize llama-3.2-1b --stored f32 --state warm --dtype bf16 "$@"
ask convert-f8 materialize llama-3.2-1b --stored f8_e4m3 --state warm --dtype bf16 "$@"
ask transpose materialize llama-3.2-1b --state warm --transposed "$@"
ask slice-llama slice llama-3.2-1b --state cold,warm "$@"
ask many-tensors materialize 100000x4KiB --state warm,cold "$@"
ask one-tensor materialize 1x409600000 --state warm,cold "$@"
ask lists lists resnet-152 --state warm "$@"
ask grow grow --state warm "$@"
ask memory-llama memory llama-3.2-1b "$@"
ask memory-resnet memory resnet-152 --format torch "$@"
ask memory-resnet-lists memory resnet-152 --format burn-lists "$@"
ask materialize-llama-8b materialize llama-3-8b --into fresh --no-forced "$@"
"$bench/heft-bench" make deepseek-v3 | xargs "$bench/heft-micro" --benchmark_out="$here/results/micro.json"
