#!/usr/bin/env bash
# The map of folders. The lines of both READMEs that begin with include/lamina/ name each folder of include/lamina once,
# and the files that CONTRIBUTING.md names are there.
# Each folder includes only from those below it, and has at most a dozen files; a file has at most 400 lines. A type's name
# means one thing: families say the same of their sizes, and backends of their kernels, which is why those are left out.
set -euo pipefail
cd "$(dirname "$0")/.."
# From roof to ground.
storeys=(testing serve merge train engine fuse data vision grammar hub text model checkpoint compose layer kernel parallel
         io core)
folders=$(find include/lamina -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort)
diff <(echo "$folders") <(printf '%s\n' "${storeys[@]}" | sort) || { echo "folders.sh: (<: there, >: its storeys)"; exit 1; }
for page in README.md README.zh-CN.md; do
  named=$(grep '^    include/lamina/' "$page" | tr ' ' '\n' | sed -nE 's#^(include/lamina/)?([a-z_]+)/$#\2#p' | sort)
  diff <(echo "$folders") <(echo "$named") || { echo "$page: its map differs from include/lamina (<: there, >: on the page)"; exit 1; }
done
grep -roE '^ *#include <lamina/[a-z_]+/[^>]+' include/lamina/*/ | awk -v order="${storeys[*]}" '
  BEGIN { for (count = split(order, name, " "); count; --count) storey[name[count]] = count }
  {
    split($0, part, "/"); from = part[3]
    to = $0; sub(/.*#include <lamina\//, "", to); sub(/\/.*/, "", to)
    if (storey[to] < storey[from]) { print "an include points up: " $0; failed = 1 }
  }
  END { exit failed }'
grep -oE '`[^` ]+\.(hpp|cuh|cpp|cu|sh|md|cmake)`' CONTRIBUTING.md | tr -d '`' | grep -v NAME | sort -u | while read -r file; do
  [ -e "$file" ] || [ -e "include/lamina/$file" ] || [ -n "$(find include/lamina -path "*/$file" -print -quit)" ] ||
    { echo "CONTRIBUTING.md names $file, which is nowhere"; exit 1; }
done
find include/lamina tests/support -type f -printf '%h\n' | sort | uniq -c | awk '
  $1 > 12 { print $2 " has " $1 " files: sort them into folders by their job"; failed = 1 } END { exit failed }'
find include/lamina -type f -exec awk 'FNR == 401 { print FILENAME " has more than 400 lines: what is its second job?" }' {} + |
  awk '{ print; failed = 1 } END { exit failed }'
grep -rE '^(struct|class|enum|enum class) [A-Z][A-Za-z0-9]* .*\{' include/lamina --exclude-dir=model --exclude-dir=kernel |
  sed -E 's#:(struct|enum class|class|enum) (\w+).*# \2#' | sort -u -k2 -k1 | awk '
    $2 == name && $1 != file { print $2 " is a type of two files: " file ", " $1; failed = 1 }
    { file = $1; name = $2 }
    END { exit failed }'
if grep -rnE '^[^/]*\bCuda\b' include/lamina --exclude-dir=kernel --exclude-dir=testing |
  grep -vE '^include/lamina/(core/(backend|machine/memory)|parallel/gpu/device_group)\.hpp:'; then
  echo "only kernels, the seams of memory, device and group, and tests know that a backend is Cuda"
  exit 1
fi
echo "$(wc -l <<<"$folders") folders"
