#!/usr/bin/env bash
# Everything that can be tested without a GPU: installs what is missing, builds, runs every test.
# LAMINA_TEST_DATA may name a folder with qwen3-tokenizer/ and llamafactory/data/, LAMINA_PYTHON a Python that has
# transformers and peft: tests that need them say so and are skipped without.
set -euo pipefail
cd "$(dirname "$0")/.."
cmake/install-dependencies.sh
gpu=()
[ -e /dev/nvidia0 ] || gpu=("-DLAMINA_CUDA_ARCH=90a" "-DLAMINA_CUDA_MODELS=qwen3_vl_tiny")  # nothing here can run more
cmake -S . -B build -G Ninja -DLAMINA_BUILD_TESTS=ON -DLAMINA_TEST_BATCHES=ON "${gpu[@]}"
cmake --build build
ctest --test-dir build --output-on-failure -j 2  # what compiles beside what waits
