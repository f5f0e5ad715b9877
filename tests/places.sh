#!/usr/bin/env bash
# Whether the table of CONTRIBUTING.md tells the truth: makes one change of each kind in a scratch copy, compiles what shows
# that it took effect, and compares the files that it touched with those of the table's row. Argument: include flags.
set -euo pipefail
cd "$(dirname "$0")/.."
source=$PWD flags=("$@") failed=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# before FILE PATTERN LINE: puts a line before the first one that has the words.
before() {
  grep -qF -- "$2" "$1" || { echo "$1 has no line with: $2"; return 1; }
  awk -v words="$2" -v line="$3" 'index($0, words) && !done { print line; done = 1 } { print }' "$1" >"$1.new"
  mv "$1.new" "$1"
}
# renamed FROM TO SED...: a new file or folder after the example of another.
renamed() {
  cp -r "$1" "$2"
  find "$2" -type f -exec sed -i "$3" {} +
}
compiles() { "${CXX:-g++}" -std=c++20 -O1 -fsyntax-only -Iinclude "${flags[@]}" -x c++ -; }

size() {
  before include/lamina/model/qwen3_vl/sizes.hpp 'struct TextNano' \
    'struct TextScratch : TextTiny { static constexpr int num_hidden_layers = 7; };'
  before include/lamina/model/qwen3_vl/model.hpp 'struct Qwen3VL_Nano' \
    'struct Qwen3VL_Scratch : Qwen3VL<VisionTiny, TextScratch> {};'
  before cmake/models.cmake '"qwen3_vl_2b=' '    "qwen3_vl_scratch=qwen3_vl::Qwen3VL_Scratch"'
  compiles <<<'#include <lamina/model/qwen3_vl/model.hpp>
    static_assert(lamina::param_count<lamina::qwen3_vl::Qwen3VL_Scratch> > lamina::param_count<lamina::qwen3_vl::Qwen3VL_Tiny>);'
  cat >"$scratch/chosen.cmake" <<<'cmake_minimum_required(VERSION 3.24)
    include(cmake/add_models.cmake)
    lamina_choose_models(MODELS qwen3_vl_scratch chosen)'
  cmake -P "$scratch/chosen.cmake"
}
layer() {
  renamed include/lamina/layer/rms_norm.hpp include/lamina/layer/NAME.hpp 's/RMSNorm\b/Scratch/g; s/RMSNormFwd/RMSNormFwd/'
  before include/lamina/layer.hpp 'layer/rms_norm' '#include <lamina/layer/NAME.hpp>'
  mkdir -p tests/layer && cat >tests/layer/NAME_test.cpp <<<'#include <lamina/kernel/cpu.hpp>
    #include <lamina/lamina.hpp>
    #include <lamina/testing/gradient_check.hpp>
    bool passed() { return lamina::testing::check_gradients<lamina::Scratch<8>>().passed(); }'
  compiles <tests/layer/NAME_test.cpp
}
wrapper() {
  renamed include/lamina/compose/wrap/frozen.hpp include/lamina/compose/wrap/NAME.hpp \
    's/Frozen/Scratch/g; s/detail::frozen/detail::scratch/; s/Traits frozen(/Traits scratch(/; s/Mode::frozen/Mode::frozen/'
  before include/lamina/compose.hpp 'compose/wrap/scaled' '#include <lamina/compose/wrap/NAME.hpp>'
  mkdir -p tests/compose && touch tests/compose/NAME_test.cpp
  compiles <<<'#include <lamina/lamina.hpp>
    using M = lamina::Scratch<lamina::Linear<8, 4>>;
    static_assert(lamina::Module<M> && lamina::param_count<M> == 32 && lamina::trainable_count<M> == 0);'
}
kernel() {
  renamed include/lamina/kernel/elementwise/add.hpp include/lamina/kernel/elementwise/NAME.hpp 's/\badd\b/scratch/g; s/\bAdd\b/Scratch/g'
  renamed include/lamina/kernel/cpu/elementwise/add.hpp include/lamina/kernel/cpu/elementwise/NAME.hpp \
    's/\badd\b/scratch/g; s/\bAdd\b/Scratch/g; s/elementwise\/scratch/elementwise\/NAME/'
  before include/lamina/kernel/operations.hpp '#define LAMINA_OPERATION_activation' \
    '#define LAMINA_OPERATION_scratch(PASS, T) PASS(scratch, forward, "scratch", (const Scratch<T>&))'
  sed -i 's/OPERATION(activation, /OPERATION(scratch, elementwise\/NAME) &/' include/lamina/kernel/operations.hpp
  before include/lamina/kernel/cpu.hpp 'cpu/elementwise/add.hpp' '#include <lamina/kernel/cpu/elementwise/NAME.hpp>'
  renamed include/lamina/kernel/cuda/elementwise/add.hpp include/lamina/kernel/cuda/elementwise/NAME.hpp \
    's/\badd\b/scratch/g; s/\bAdd\b/Scratch/g; s/elementwise\/scratch/elementwise\/NAME/'
  renamed include/lamina/kernel/cuda/elementwise/add.cuh include/lamina/kernel/cuda/elementwise/NAME.cuh \
    's/\badd\b/scratch/g; s/\bAdd\b/Scratch/g; s/elementwise\/scratch/elementwise\/NAME/'
  before include/lamina/kernel/cuda.hpp 'elementwise/add.hpp' '#include <lamina/kernel/cuda/elementwise/NAME.hpp>'
  before include/lamina/kernel/cuda.cuh 'elementwise/add.cuh' '#include <lamina/kernel/cuda/elementwise/NAME.cuh>'
  mkdir -p tests/kernel/elementwise && touch tests/kernel/elementwise/NAME_test.cpp tests/kernel/elementwise/NAME_test.cu
  compiles <<<'#include <lamina/kernel/cpu_elsewhere.hpp>
    #include <lamina/kernel/plan.hpp>
    void run(lamina::kernel::Scratch<float> a) { lamina::kernel::scratch<lamina::Cpu>::forward({}, a); }
    void plan(lamina::kernel::Scratch<float> a) { lamina::kernel::scratch<lamina::Plan>::forward({}, a); }'
  cat >"$scratch/units.cmake" <<<"cmake_minimum_required(VERSION 3.24)
    include(cmake/cuda_kernels.cmake)
    lamina_write_cuda_units($scratch/units units)"
  cmake -P "$scratch/units.cmake"
  grep -q 'cuda/elementwise/NAME.cuh' "$scratch/units/NAME.cu" && grep -qF 'LAMINA_CUDA_KERNELS(scratch);' "$scratch/units/NAME.cu"
}
family() {
  renamed include/lamina/model/qwen2_5_vl include/lamina/model/NAME 's/qwen2_5_vl/scratch_vl/g; s/model\/scratch_vl/model\/NAME/'
  before include/lamina/model/families.hpp 'qwen2_5_vl/family' '#include <lamina/model/NAME/family.hpp>'
  before include/lamina/model/families.hpp '    &qwen2_5_vl' '    &scratch_vl::family,'
  before cmake/models.cmake '"qwen3_vl_2b=' '    "scratch_vl_tiny=scratch_vl::Qwen2_5VL_Tiny"'
  compiles <<<'#include <lamina/model/NAME/model.hpp>
    #include <lamina/model/families.hpp>
    static_assert(lamina::own_families[1]->model_type == "scratch_vl");
    static_assert(lamina::param_count<lamina::scratch_vl::Qwen2_5VL_Tiny> > 0);'
}
key() {
  before include/lamina/train/arguments.hpp 'std::optional<std::int64_t> save_total_limit' '  std::int64_t scratch = 3;'
  before include/lamina/train/arguments/keys_trainer.hpp '"save_total_limit"' '    honoured<&Arguments::scratch>("scratch", "nothing"),'
  compiles <<<'#include <lamina/train/arguments.hpp>
    #include <lamina/train/arguments/parse.hpp>
    static_assert(lamina::train::KeyName("scratch").row().type == lamina::io::KeyType::integer);'
}
flag() {
  before include/lamina/serve/flags/flag_values.hpp 'std::uint16_t port' '  std::int64_t scratch = 3;'
  before include/lamina/serve/flags/flag_table.hpp '"port"' '      honoured<&Flags::scratch>("scratch", "nothing"),'
  compiles <<<'#include <lamina/serve/flags/flags.hpp>
    static_assert(sizeof(lamina::serve::Flags::scratch) == 8);'
}
field() {
  before include/lamina/serve/openai/request/request_fields.hpp '{"temperature"' '      {"scratch", work},'
  before include/lamina/serve/openai/request/generation_request.hpp 'out_.request_id = ' '    if (fields_.boolean("scratch", false)) return;'
  compiles <<<'#include <lamina/serve/openai/request/generation_request.hpp>'
}

# The files of a row: `a`, `b` in the last column.
row() { awk -F'|' -v kind="$1" 'NF == 5 && $2 ~ "^ *" kind " *$" { print $4 }' "$source/CONTRIBUTING.md" |
  grep -oE '`[^`]+`' | tr -d '`' | sort; }
for kind in ${KINDS:-size layer wrapper kernel family key flag field}; do
  copy=$scratch/$kind
  mkdir -p "$copy" && cp -r "$source/include" "$source/cmake" "$copy"
  (cd "$copy" && $kind) >"$scratch/log" 2>&1 &  # behind `if` the first mistake would not end it
  if ! wait $!; then
    echo "FAILED $kind: the change does not compile"
    head -n 20 "$scratch/log"
    failed=1
    continue
  fi
  touched=$( (cd "$copy" && find . -type f | sed 's|^\./||' | while read -r file; do
    cmp -s "$file" "$source/$file" || echo "$file"
  done) | sed 's|model/NAME/.*|model/NAME/|' | sort -u)
  if [ "$touched" = "$(row "$kind")" ]; then
    echo "ok     $kind: $(wc -l <<<"$touched") places"
  else
    echo "FAILED $kind: the files touched (<) are not those of CONTRIBUTING.md (>)"
    diff <(echo "$touched") <(row "$kind") || true
    failed=1
  fi
done
exit $failed
