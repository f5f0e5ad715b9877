#!/usr/bin/env bash
# Programs that must not compile: each starts with "// expect: <our words>". Every compiler found must refuse it, say
# these words, and say them in at most 6 KB. Arguments: the include flags; or set CXXFLAGS.
set -uo pipefail
cd "$(dirname "$0")"
failed=0
# check PROGRAM: compiles it with the command of `words_of_compile`, and says what came of it.
check() {
  local program=$1 limit_bytes=6144 words why="" message status=ok
  eval "local compile=($words_of_compile)"
  words=$(sed -n '1s|^// expect: ||p' "$program")
  if message=$("${compile[@]}" "$program" 2>&1); then why="it compiles"
  elif [ -z "$words" ]; then why="its first line names no words to expect"
  elif ! grep -qF -- "$words" <<<"$message"; then why="the error does not say: $words"
  elif [ "${#message}" -gt "$limit_bytes" ]; then why="the error is ${#message} bytes, more than $limit_bytes"
  fi
  [ -z "$why" ] || status=FAILED
  printf "%-7s %-8s %-24s %5d bytes, %d errors\n" "$status" "$compiler" "$program" "${#message}" \
         "$(grep -c 'error: ' <<<"$message")"
  [ -z "$why" ] || { echo "        $why"; [ -z "${VERBOSE:-}" ] || echo "$message"; return 1; }
}
export -f check
read -ra flags <<<"${CXXFLAGS:-}"
# The programs' own folder is the only difference to a build: a program that compiles checks that the flags suffice.
for compiler in g++ clang++ nvcc; do
  command -v "$compiler" >/dev/null || { echo "SKIPPED $compiler: not found"; continue; }
  compile=("$compiler" -std=c++20 -O1 -fsyntax-only -I../../include "${flags[@]}" "$@")
  [ "$compiler" != nvcc ] ||
    compile=(nvcc -std=c++20 --expt-relaxed-constexpr -diag-suppress 554,1675,2189 -x cu -c -arch=sm_80 -o /dev/null -I../../include "${flags[@]}"
             "${@/#-isystem/-I}")  # as lamina::cuda does; it does not know -isystemFOLDER
  if ! message=$("${compile[@]}" control.cc 2>&1); then
    echo "FAILED $compiler: control.cc must compile, but:"$'\n'"$message"
    failed=1
    continue
  fi
  export compiler words_of_compile="${compile[*]@Q}"
  printf '%s\n' ${PROGRAMS:-*.cpp} | xargs -P "$(nproc)" -n 1 bash -c 'check "$1"' _ || failed=1
done
exit $failed
