#!/usr/bin/env bash
# What including each public header costs: seconds of user time of g++ -fsyntax-only, best of three, as a multiple of what
# five headers of the standard library cost in the same run, so that the machine's speed drops out, and lines after the
# preprocessor. Exits with 1 when a header passes its limit: lamina.hpp 2.5 of them, a layer 1.3, which are 1 s and 0.5 s on
# the machine of RESULTS.md.
#
#     CXX=g++ CXXFLAGS=-I/usr/include/eigen3 bench/compile/measure.sh [header ...]
#     bench/compile/measure.sh --limits      only the headers that have a limit
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
limits_only=
[ "${1:-}" != --limits ] || { limits_only=1; shift; }
headers=("$@")
[ $# -gt 0 ] || headers=(lamina.hpp layer.hpp layer/*.hpp)
[ $# -gt 0 ] || [ -n "$limits_only" ] ||
  headers+=(compose.hpp kernel/cpu.hpp model/qwen3_vl/model.hpp model/qwen2_5_vl/model.hpp testing/gradient_check.hpp train/step.hpp)
baseline=$'#include <filesystem>\n#include <functional>\n#include <map>\n#include <string>\n#include <vector>'
TIMEFORMAT=%U
seconds() { { time "${compile[@]}" -fsyntax-only - <<<"$1"; } 2>&1; }

failed=0
printf '| header | seconds | of the baseline | lines |\n| --- | ---: | ---: | ---: |\n'
for header in $(cd include/lamina && printf '%s\n' ${headers[@]}); do
  best="99 99"
  for _ in 1 2 3; do
    best=$(awk -v base="$(seconds "$baseline")" -v own="$(seconds "#include <lamina/$header>")" -v best="$best" \
               'BEGIN { split(best, b); r = own / base; print (own < b[1] ? own : b[1]), (r < b[2] ? r : b[2]) }')
  done
  lines=$("${compile[@]}" -E - <<<"#include <lamina/$header>" | wc -l)
  case $header in lamina.hpp) limit=2.5 ;; layer/*) limit=1.3 ;; *) limit=99 ;; esac
  note=$(awk -v b="$limit" '{ if ($2 > b) print " over its limit of " b }' <<<"$best")
  [ -z "$note" ] || failed=1
  printf '| %s | %.2f | %.2f%s | %d |\n' "$header" $best "$note" "$lines"
done
exit $failed
