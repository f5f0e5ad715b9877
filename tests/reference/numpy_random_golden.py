"""Writes tests/golden/core/numpy_random.json: what numpy's two generators draw.

    python tests/reference/numpy_random_golden.py

state: np.random.seed(seed); permutation(n); choice(n, 5); permutation(n) again, so that the state in between counts.
generator: default_rng(seed): eight raw 64-bit words, and anew permutation(n), three doubles after it, permutation(n).
choice: default_rng(seed).choice(len(p), size=40, p=p).
"""

import json
import os

import numpy as np

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "core")
SEEDS = [0, 1, 42, 1234567, 2**32 - 1]
COUNTS = [1, 2, 7, 33, 64, 129]

state, generator, choice = [], [], []
for seed in SEEDS:
    for n in COUNTS:
        np.random.seed(seed)
        state.append({"seed": seed, "n": n, "permutation": np.random.permutation(n).tolist(),
                      "choice": np.random.choice(n, 5).tolist(), "again": np.random.permutation(n).tolist()})
for seed in [*SEEDS, 2**32, 2**63 + 5]:
    raw = [str(int(x)) for x in np.random.default_rng(seed).bit_generator.random_raw(8)]
    for n in COUNTS:
        rng = np.random.default_rng(seed)
        generator.append({"seed": str(seed), "raw": raw, "n": n, "permutation": rng.permutation(n).tolist(),
                          "random": [rng.random() for _ in range(3)], "again": rng.permutation(n).tolist()})
for seed in SEEDS:
    for p in [[0.5, 0.5], [0.7, 0.2, 0.1], [0.1] * 10, [1 / 3] * 3]:
        choice.append({"seed": seed, "p": p, "drawn": np.random.default_rng(seed).choice(len(p), size=40, p=p).tolist()})

os.makedirs(OUT, exist_ok=True)
with open(os.path.join(OUT, "numpy_random.json"), "w") as f:
    json.dump({"numpy": np.__version__, "state": state, "generator": generator, "choice": choice}, f,
              separators=(",", ":"))
    f.write("\n")
