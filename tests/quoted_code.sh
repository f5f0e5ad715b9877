#!/usr/bin/env bash
# Code shown in a page is code that the build compiles, or in compile_fail/ refuses: each paragraph of a fenced block that
# names a language must stand in a file of the repository, whole lines in the same order. Indentation does not count.
set -euo pipefail
cd "$(dirname "$0")/.."
pages=(README.md README.zh-CN.md examples/research/README.md examples/research/cuda_kernel.md)
mapfile -t sources < <(find include examples tests cmake data/*/config.json -regex '.*\(\.\([ch]pp\|cuh?\|cmake\|yaml\|json\)\|/CMakeLists.txt\)')
awk '
  function strip(line) { gsub(/^[ \t]+|[ \t]+$/, "", line); return line "\n" }
  function check(   file) {
    if (paragraph == "") return
    ++checked
    for (file in source) if (index("\n" source[file], "\n" paragraph)) { paragraph = ""; return }
    printf "%s:%d: no file of the repository has these lines:\n%s", FILENAME, FNR, paragraph
    paragraph = ""; failed = 1
  }
  FILENAME !~ /\.md$/ { source[FILENAME] = source[FILENAME] strip($0); next }
  /^[ \t]*```/ { check(); inside = !inside; quoted = inside && !/```[ \t]*$/; next }
  quoted && /[^ \t]/ { paragraph = paragraph strip($0); next }
  { check() }
  END { print checked + 0 " paragraphs of code"; exit failed || !checked }
' "${sources[@]}" "${pages[@]}"
