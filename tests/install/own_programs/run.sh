#!/usr/bin/env bash
# run.sh BUILD SOURCE: what both sets of programs do.
set -euo pipefail
build=$1 source=$2
"$source/tests/install/own_programs/text_only.sh" "$build" "$source"
"$source/examples/research/05_own_programs/run.sh" "$build/lesson" "$source"
