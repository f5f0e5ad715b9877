#!/usr/bin/env bash
# Installs what Lamina builds with, from the distribution's packages: Debian 12, Ubuntu 24.04 and their like.
set -euo pipefail
packages=(g++ cmake ninja-build ccache libeigen3-dev librandom123-dev libboost-dev nlohmann-json3-dev
          libyaml-cpp-dev libfmt-dev libspdlog-dev libutf8proc-dev libstb-dev libjpeg-dev zlib1g-dev libwebp-dev
          libtiff-dev libssl-dev libcurl4-openssl-dev libcairo2-dev libbenchmark-dev pkg-config catch2 curl)
optional=(libopenmpi-dev openmpi-bin iproute2  # training on CPUs in several processes, and its tests
          libavformat-dev libavcodec-dev libswscale-dev)  # videos
as_root=(); [ "$(id -u)" -eq 0 ] || as_root=(sudo)
# lacking PACKAGE...: those that are not installed
lacking() {
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || echo "$package"
  done
}
# add PACKAGE...: installs them
add() {
  echo "installing: $*"
  "${as_root[@]}" apt-get update -qq &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
mapfile -t missing < <(lacking "${packages[@]}")
[ ${#missing[@]} -eq 0 ] || add "${missing[@]}"
mapfile -t missing < <(lacking "${optional[@]}")
[ ${#missing[@]} -eq 0 ] || add "${missing[@]}" || echo "not installed: ${missing[*]}; what needs them is left out"
