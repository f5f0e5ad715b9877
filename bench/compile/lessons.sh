#!/usr/bin/env bash
# What the lessons of examples/research cost, a row of its table each: lines that are not empty, seconds of user time of g++ -O1,
# and, with one width made wrong, how many errors g++ reports and how long they are. Exits with 1 if a mistake compiles, or takes
# more than two errors or 8 KB.
#
#     CXX=g++ CXXFLAGS=-I/usr/include/eigen3 bench/compile/lessons.sh [lesson ...]
set -euo pipefail
cd "$(dirname "$0")/../../examples/research"
export LC_ALL=C
read -ra flags <<<"${CXXFLAGS:--I/usr/include/eigen3}"
compile=("${CXX:-g++}" -std=c++20 -O1 -fopenmp -I../../include -I07_own_kernel "${flags[@]}" -x c++ -)
# A lesson and its mistake, as sed makes it.
declare -A mistake=(
  [01_first_layer]='s/Named<name::proj, Linear<16, 16>>/Named<name::proj, Linear<16, 8>>/'
  [02_projector]='s/Named<norm, RMSNorm<W>>/Named<norm, RMSNorm<V::hidden_size>>/'
  [03_dora]='s/Shape<O>, init::row_norms/Shape<L::In::width>, init::row_norms/'
  [04_own_model]='s/RMSNorm<C::hidden_size>>>> {};/RMSNorm<C::head_dim>>>> {};/'
  [05_own_programs/model]='s/post_feedforward_layernorm, RMSNorm<C::hidden_size>/post_feedforward_layernorm, RMSNorm<C::head_dim>/'
  [06_bench]='s/Named<name::proj, Linear<F, D>>/Named<name::proj, Linear<D, D>>/'
  [07_own_kernel/main]='s/mine::SquaredRelu<24>/mine::SquaredRelu<16>/'
  [08_adapters]='s/Shape<L::Out::width, 1>, init::ones/Shape<L::In::width, 1>, init::ones/'
  [10_routing]='s/Named<gate, Linear<D, 4>>/Named<gate, Linear<D, 8>>/'
  [09_resampler]='s/Named<o_proj, Linear<W, Out>>/Named<o_proj, Linear<Out, Out>>/')
lessons=("$@")
[ $# -gt 0 ] || mapfile -t lessons < <(printf '%s\n' "${!mistake[@]}" | sort)
# What is compiled of a lesson: its program, or of a header what `lamina_add_models` makes of it for the trainer.
source_of() {
  [ -e "$1.cpp" ] && cat "$1.cpp" && return
  grep -v "^#pragma once" "$1.hpp"
  printf '#include <lamina/%s>\n' kernel/cpu.hpp fuse.hpp train/step/session.hpp
  echo 'template class lamina::train::ModelTrainSession<lamina::fused_for<lamina::Cpu, mine::PostNorm>>;'
}
TIMEFORMAT=%U
failed=0
for lesson in "${lessons[@]}"; do
  file=$(ls "$lesson".[ch]pp)
  right=$(source_of "$lesson")
  wrong=$(sed "${mistake[$lesson]}" <<<"$right")
  [ "$wrong" != "$right" ] || { echo "$file: its mistake changes nothing"; exit 1; }
  seconds=$( { time "${compile[@]}" -c -o /dev/null <<<"$right"; } 2>&1)
  if message=$("${compile[@]}" -fsyntax-only <<<"$wrong" 2>&1); then
    errors="compiles: found when it runs"
  else
    count=$(grep -c 'error: ' <<<"$message")
    errors=$(awk -v n="$count" -v b="${#message}" 'BEGIN { printf "%d, %.1f KB", n, b / 1000 }')
    [ "$count" -le 2 ] && [ "${#message}" -le 8000 ] || { errors+=" too many"; failed=1; }
  fi
  printf '| `%s` | %d | %s s | %s |\n' "$file" "$(grep -c . "$file")" "$seconds" "$errors"
done
exit $failed
