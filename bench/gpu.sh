#!/usr/bin/env bash
# The figures of a GPU, ours beside the peer's from the same run: training steps, decoding, kernels, and the data pipeline
# of the host. LAMINA_PYTHON names a Python with torch, transformers and peft; without one the peer's rows are left out.
set -euo pipefail
cd "$(dirname "$0")/.."
arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
[ "$arch" = 90 ] && arch=90a
cmake/install-dependencies.sh
cmake -S . -B build-bench -G Ninja -DLAMINA_BUILD_TESTS=OFF -DLAMINA_BUILD_BENCH=ON \
      "-DLAMINA_CUDA_ARCH=$arch" >/dev/null
cmake --build build-bench --target bench_gpu_step bench_gpu_engine bench_kernel_attention \
      bench_kernel_cuda_cudnn_attention bench_kernel_paged_attention bench_kernel_matmul bench_kernel_rows \
      bench_data_pipeline >/dev/null
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
date +%F
peer() { [ -z "${LAMINA_PYTHON:-}" ] || "$LAMINA_PYTHON" -W ignore bench/gpu/peer.py --case "$1"; }
for case in a b c f; do build-bench/bin/bench_gpu_step $case; peer $case; done
for case in a b; do build-bench/bin/bench_gpu_step $case 10 trace; done
build-bench/bin/bench_gpu_step m
for load in "2b 1 1024 256" "2b 16 128 512" "2b 64 128 512" "2b 256 128 512" "8b 1 1024 256" "8b 64 128 512"; do
  build-bench/bin/bench_gpu_engine $load
done
peer decode
for bench in attention cuda_cudnn_attention paged_attention; do build-bench/bin/bench_kernel_$bench; done
[ -z "${LAMINA_PYTHON:-}" ] || "$LAMINA_PYTHON" -W ignore bench/kernel/cuda_attention_peer.py
for bench in matmul rows; do build-bench/bin/bench_kernel_$bench; done
build-bench/bin/bench_data_pipeline 1 $(($(nproc) / 2)) "$(nproc)"
