#!/usr/bin/env bash
# package.sh SOURCE WORK: cpack's .deb holds the programs, the headers and, if nvcc is here, the library of CUDA kernels,
# with which a project builds models for GPUs without nvcc. Stand-ins are packed, because only the rules are looked at.
set -euo pipefail
source=$1 work=$2
for tool in cpack dpkg-deb dpkg-shlibdeps ninja; do command -v "$tool" >/dev/null || { echo "SKIPPED: no $tool"; exit 0; }; done
rm -rf "$work" && mkdir -p "$work"
build=$work/build
cmake -S "$source" -B "$build" -G Ninja -DLAMINA_BUILD_TESTS=OFF -DLAMINA_CUDA_ARCH=80 >"$work/log"

mapfile -t programs < <(grep -oE '/bin/lamina-[a-z-]+"' "$build/cmake_install.cmake" | tr -d '"' | sort -u)
mkdir -p "$build/bin" "$build/examples"
for program in "${programs[@]}"; do
  mapfile -t links < <(ninja -C "$build" -t commands ".$program" | tail -n 1 |
    grep -oE -- '-Wl,-rpath,[^ ]+|/[^ ]+/libcublasLt\.so[^ ]*')
  echo 'int main() {}' | "${CXX:-g++}" -x c++ - -x none -Wl,--no-as-needed "${links[@]}" -o "$build$program"
done
kernels=$(grep -oE '[^"]*/liblamina_cuda_kernels\.a' "$build/cmake_install.cmake" | head -n 1 || true)
[ -z "$kernels" ] || ar rcs "$kernels"
(cd "$build" && cpack >>"$work/log") || { cat "$work/log"; exit 1; }

dpkg-deb -x "$build"/lamina_*.deb "$work/unpacked"
usr=$work/unpacked/usr
[ "${#programs[@]}" -ge 5 ]
for program in "${programs[@]}"; do [ -x "$usr$program" ]; done
[ -s "$usr/include/lamina/lamina.hpp" ]
if [ -z "$kernels" ]; then
  echo "no nvcc: the package was looked at without the kernels' library"
  exit 0
fi
[ -f "$(find "$usr" -name liblamina_cuda_kernels.a)" ]
[ -s "$usr/include/lamina/lamina.cuh" ]
readelf -d "$usr/bin/lamina-train" | grep -q RUNPATH  # the loader finds NVIDIA's library where the build did
dpkg-deb -f "$build"/lamina_*.deb Recommends | grep -q libcublas
mkdir "$work/project"
cat >"$work/project/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.24)
project(gpu_models LANGUAGES CXX)
find_package(lamina 0.1 REQUIRED)
lamina_add_models(models MODELS qwen3_vl_tiny CUDA)
CMAKE
cmake -S "$work/project" -B "$work/project/build" -G Ninja -DCMAKE_PREFIX_PATH="$usr" >>"$work/log"
grep -q qwen3_vl_tiny_cuda "$work/project/build/build.ninja"
