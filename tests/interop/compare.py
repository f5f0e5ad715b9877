"""python tests/interop/compare.py A.json B.json [TOLERANCE]

Compares two logits files (prompt.py; any JSON with a list "logits"): fails when ||a - b|| / ||b|| exceeds TOLERANCE (1e-5)."""

import json
import math
import pathlib
import sys


def main(first: str, second: str, tolerance: float = 1e-5) -> None:
    a, b = (json.loads(pathlib.Path(path).read_text())["logits"] for path in (first, second))
    if len(a) != len(b) or not a:
        raise SystemExit(f"{first} has {len(a)} logits, {second} has {len(b)}")
    error = math.dist(a, b) / math.hypot(*b)
    print(f"{first} against {second}: relative error {error:.2e}, largest difference {max(abs(x - y) for x, y in zip(a, b)):.2e}")
    if not error <= tolerance:
        raise SystemExit(f"relative error {error:.2e} exceeds {tolerance:.0e}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    main(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:]))
