#!/usr/bin/env bash
# What including each public header costs: seconds of user time of g++ -fsyntax-only, best of three, and lines after the
# preprocessor. Exits with 1 when a header passes its limit: lamina.hpp 1 s, a layer 0.5 s.
#
#     CXX=g++ CXXFLAGS=-I/usr/include/eigen3 bench/compile/measure.sh [header ...]
#     bench/compile/measure.sh --trainer     what lamina-train with the tiny models costs: CPU backend, two jobs, nothing
#                                            cached; limit one minute
set -euo pipefail
cd "$(dirname "$0")/../.."
export LC_ALL=C
if [ "${1:-}" = --trainer ]; then
  folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
  cmake -S . -B "$folder" -G Ninja -DLAMINA_WITH_CUDA=OFF -DLAMINA_BUILD_TESTS=OFF >/dev/null
  TIMEFORMAT='%R %U'
  read -r elapsed cpu < <({ time CCACHE_DISABLE=1 cmake --build "$folder" -j 2 --target lamina-train >/dev/null; } 2>&1)
  printf 'lamina-train: %s s, %s s of CPU\n' "$elapsed" "$cpu"
  awk -v a="$elapsed" 'BEGIN { exit !(a < 60) }' || { echo "over its limit of 60 s"; exit 1; }
  exit 0
fi
read -ra flags <<<"${CXXFLAGS:--I/usr/include/eigen3}"
compile=("${CXX:-g++}" -std=c++20 -Iinclude "${flags[@]}" -x c++)
headers=("$@")
[ $# -gt 0 ] || headers=(lamina.hpp compose.hpp layer.hpp layer/*.hpp kernel/cpu.hpp model/qwen3_vl/model.hpp model/qwen2_5_vl/model.hpp
                         testing/gradient_check.hpp train/step.hpp)
failed=0
TIMEFORMAT=%U
printf '| header | seconds | lines |\n| --- | ---: | ---: |\n'
for header in $(cd include/lamina && printf '%s\n' ${headers[@]}); do
  best=99
  for _ in 1 2 3; do
    seconds=$( { time "${compile[@]}" -fsyntax-only - <<<"#include <lamina/$header>"; } 2>&1 )
    best=$(awk -v a="$seconds" -v b="$best" 'BEGIN { print a < b ? a : b }')
  done
  lines=$("${compile[@]}" -E - <<<"#include <lamina/$header>" | wc -l)
  case $header in lamina.hpp) limit=1 ;; layer/*) limit=0.5 ;; *) limit=60 ;; esac
  note=$(awk -v a="$best" -v b="$limit" 'BEGIN { if (a > b) print " over its limit of " b " s" }')
  [ -z "$note" ] || failed=1
  printf '| %s | %.2f%s | %d |\n' "$header" "$best" "$note" "$lines"
done
exit $failed
