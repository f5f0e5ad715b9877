#!/usr/bin/env bash
# sanitize.sh TEST_KERNEL_CUDA [TOOL ...]: every case of the kernels' tests under compute-sanitizer's memcheck, initcheck
# and racecheck, or the tools named; each case a process, LAMINA_JOBS (4) at a time. Prints a line a case, and the
# sanitizer's report if it found something.
set -euo pipefail
binary=$(realpath "$1")
tools=${*:2}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
export binary logs

# run_test NAME LOG TOOL [OPTION ...]: the test, which passes if the tool has nothing to say either.
run_test() {
  local name
  name=$(sed 's/[],["\\]/\\&/g' <<<"$1")
  compute-sanitizer --tool "${@:3}" --error-exitcode 1 "$binary" "$name" >"$2" 2>&1
}
# clean NAME TOOL [OPTION ...]: whether the test ran, and the tool has nothing to say of it.
clean() {
  local log
  log=$(mktemp "$logs/XXXXXX")
  if run_test "$1" "$log" "${@:2}" && grep -Eq 'All tests passed|1 passed' "$log"; then
    printf '%s: clean: %s\n' "$2" "$1"
  else
    printf '%s: FOUND SOMETHING: %s\n%s\n' "$2" "$1" "$(cat "$log")"
    return 1
  fi
}
# Whether racecheck, which looks at every kernel, names none of this library.
clean_of_ours() {
  local log
  log=$(mktemp "$logs/XXXXXX")
  run_test "$1" "$log" racecheck --print-limit 100000 || true
  if grep -q 'RACECHECK SUMMARY' "$log" && ! grep -q 'lamina::' "$log"; then
    printf 'racecheck: clean of this library: %s\n' "$1"
  else
    printf 'racecheck: FOUND SOMETHING: %s\n%s\n' "$1" "$(grep 'lamina::' "$log" || cat "$log")"
    return 1
  fi
}
export -f run_test clean clean_of_ours

# The names of tests; Catch2 3 and 2 list them each in a way of its own, and 2 returns how many.
names() {
  if "$binary" --libidentify | grep -q 'version: *2\.'; then
    "$binary" --list-test-names-only "$1" || true
  else
    "$binary" --list-tests --verbosity quiet "$1"
  fi
}
# each TESTS CHECK TOOL [OPTION ...]
each() {
  [[ -z $tools || " $tools " == *" $3 "* ]] || return 0
  names "$1" | sort -u |
    xargs -d '\n' -P "${LAMINA_JOBS:-4}" -I '{}' bash -c '"$2" "$1" "${@:3}"' each '{}' "${@:2}" || found=1
}

found=0
each '*' clean memcheck
# initcheck does not see what cuBLASLt's and cuDNN's kernels write (a kernel of one line that sums a product of cuBLASLt is
# reported too): tests fill scratch with NaN first, so that what nobody wrote shows in the results.
each '*' clean initcheck --kernel-name-exclude kns=cudnn
# racecheck does not follow the barriers of those kernels, so it looks at this library's alone. Where cuBLASLt computes it
# then dies, so there it looks at all. It looks at each block by itself, and takes hours for blocks by the thousand that
# wait for each other: the tests of smaller shapes run the same kernels.
each '~[waits]~[cublaslt]' clean racecheck --kernel-name kns=lamina
each '[cublaslt]' clean_of_ours racecheck
exit "$found"
