#!/usr/bin/env bash
# tidy.sh BUILD [FILE ...]: the short profile of .clang-tidy on a few files that include much of the library, or on those
# named. About a minute. (clang 14 cannot compile what captures structured bindings, so most of serve/ and train/ is out.)
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
files=("${@:2}")
[ ${#files[@]} -gt 0 ] || files=(examples/init.cpp examples/merge.cpp cmake/models/registry.cpp "$build/examples/lamina_models/qwen3_vl_nano_cpu.cpp")
command -v clang-tidy >/dev/null || { echo "SKIPPED: no clang-tidy"; exit 0; }
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(nproc)" clang-tidy --quiet -p "$build"
