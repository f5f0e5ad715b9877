#!/usr/bin/env bash
# Builds and runs the tests that need a GPU: kernels against their contracts, whole models against the CPU and against
# transformers' golden values. --sanitize runs the kernels' tests under compute-sanitizer (tests/sanitize.sh) as well.
set -euo pipefail
cd "$(dirname "$0")/.."
cmake/install-dependencies.sh
arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
[ "$arch" = 90 ] && arch=90a
cmake -S . -B build-gpu -G Ninja -DLAMINA_BUILD_TESTS=ON "-DLAMINA_CUDA_ARCH=$arch"
cmake --build build-gpu --target test_kernel_cuda test_cuda
ctest --test-dir build-gpu --output-on-failure -R '^(kernel_cuda|cuda)$'
[ "${1:-}" != --sanitize ] || tests/sanitize.sh build-gpu/bin/test_kernel_cuda
