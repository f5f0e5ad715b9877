#!/usr/bin/env bash
# Builds and runs the tests that need a GPU: kernels against their contracts, whole models against the CPU and against
# transformers' golden values. --sanitize runs the kernels' tests under compute-sanitizer's memcheck, racecheck and
# initcheck as well.
set -euo pipefail
cd "$(dirname "$0")/.."
cmake/install-dependencies.sh
arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
[ "$arch" = 90 ] && arch=90a
cmake -S . -B build-gpu -G Ninja -DLAMINA_MODELS=tiny -DLAMINA_BUILD_TESTS=ON "-DLAMINA_CUDA_ARCH=$arch"
cmake --build build-gpu --target test_kernel_cuda test_cuda
ctest --test-dir build-gpu --output-on-failure -R '^(kernel_cuda|cuda)$'
[ "${1:-}" = --sanitize ] || exit 0

# check TOOL [option ...] -- TEST: the sanitizer's report is printed where it finds something.
check() {
  local options=()
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  printf '%s: %s\n' "${options[*]}" "$2"
  compute-sanitizer --tool "${options[@]}" --error-exitcode 1 build-gpu/bin/test_kernel_cuda "$2" >build-gpu/sanitizer.log 2>&1 ||
    { cat build-gpu/sanitizer.log; exit 1; }
}
# initcheck does not see what cuBLASLt's and cuDNN's kernels write (a kernel of one line that sums a product of cuBLASLt is
# reported too): tests fill scratch with NaN first, so that what nobody wrote shows in the results.
check memcheck -- '*'
check initcheck --kernel-name-exclude kns=cudnn -- '*'
# racecheck does not follow the barriers of those kernels, so it looks at this library's alone. Where cuBLASLt computes it
# then dies, so there it looks at all, and reports of other kernels are passed over. Blocks that wait for each other
# take it hours: their test is left out.
check racecheck --kernel-name kns=lamina -- '~[waits]~[cublaslt]'
echo "racecheck: [cublaslt]"
compute-sanitizer --tool racecheck --print-limit 100000 build-gpu/bin/test_kernel_cuda '[cublaslt]' >build-gpu/sanitizer.log 2>&1 || true
grep -q 'RACECHECK SUMMARY' build-gpu/sanitizer.log || { cat build-gpu/sanitizer.log; exit 1; }
if grep 'lamina::' build-gpu/sanitizer.log; then echo "racecheck: see build-gpu/sanitizer.log"; exit 1; fi
