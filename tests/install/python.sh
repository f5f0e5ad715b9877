#!/usr/bin/env bash
# python.sh PREFIX SOURCE BUILD: builds examples/python on the installed library and runs what it shows, if LAMINA_PYTHON (or
# python3) has nanobind, NumPy and its own headers.
set -euo pipefail
prefix=$1 source=$2 build=$3
python=${LAMINA_PYTHON:-python3}
"$python" -c 'import nanobind, numpy, pathlib, sysconfig; assert (pathlib.Path(sysconfig.get_paths()["include"]) / "Python.h").exists()' 2>/dev/null || {
  echo "SKIPPED: $python has not all of nanobind, numpy and Python.h; LAMINA_PYTHON may name one that has"
  exit 0
}
cmake -S "$source/examples/python" -B "$build" "-DCMAKE_PREFIX_PATH=$prefix" "-DPython_EXECUTABLE=$(command -v "$python")" "-DCMAKE_BUILD_TYPE=Release" >/dev/null
cmake --build "$build" >"$build/build.log" 2>&1 || { tail -50 "$build/build.log"; exit 1; }
PYTHONPATH=$build "$python" "$source/examples/python/try_it.py" "$source/data/qwen3_vl_nano"
