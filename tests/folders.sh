#!/usr/bin/env bash
# The map of folders in both READMEs, the lines that begin with include/lamina/, names each folder of include/lamina once.
set -euo pipefail
cd "$(dirname "$0")/.."
folders=$(find include/lamina -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort)
for page in README.md README.zh-CN.md; do
  named=$(grep '^    include/lamina/' "$page" | tr ' ' '\n' | sed -nE 's#^(include/lamina/)?([a-z_]+)/$#\2#p' | sort)
  diff <(echo "$folders") <(echo "$named") || { echo "$page: its map differs from include/lamina (<: there, >: on the page)"; exit 1; }
done
echo "$(wc -l <<<"$folders") folders"
