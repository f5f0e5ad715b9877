#!/usr/bin/env bash
# chains.sh INCLUDE < HEADERS: puts the headers, paths below the folder INCLUDE, into chains, one per line, each header
# after some that it includes itself, directly or not. In a file that includes a chain from left to right, each header
# compiles if and only if it compiles alone: what comes before it is what its own includes bring, and its own code is
# below those. Not so for a header with an include below the first line of code or of a condition, and for what it includes
# there: each is a chain of its own.
set -euo pipefail
export LC_ALL=C
mapfile -t headers
(cd "$1" && awk '
  FNR == 1 { names[++count] = FILENAME; code = 0 }
  /^#include <lamina\// {
    header = $2; gsub(/[<>]/, "", header)
    if (code) alone[FILENAME] = alone[header] = 1
    else includes[FILENAME] = includes[FILENAME] " " header
    next
  }
  !/^(#pragma once|#include .*|\/\/.*|)$/ { code = 1 }
  function collect(header,    list, n, i) {  # what it includes, directly or not; each header once
    n = split(includes[header], list, " ")
    for (i = 1; i <= n; ++i)
      if (!((top, list[i]) in below)) { below[top, list[i]] = 1; ++size[top]; collect(list[i]) }
  }
  END {
    for (i = 1; i <= count; ++i) { top = names[i]; size[top] = 0; collect(top) }
    for (i = 1; i <= count; ++i) {  # the largest first
      for (j = i; j > 1 && size[sorted[j - 1]] < size[names[i]]; --j) sorted[j] = sorted[j - 1]
      sorted[j] = names[i]
    }
    for (i = 1; i <= count; ++i) {
      last = line = sorted[i]
      if (done[last]) continue
      for (j = i + 1; j <= count && !alone[sorted[i]]; ++j) {
        next_one = sorted[j]
        if (done[next_one] || alone[next_one] || !((last, next_one) in below)) continue
        done[next_one] = 1
        line = next_one " " line
        last = next_one
      }
      print line
    }
  }' "${headers[@]}")
