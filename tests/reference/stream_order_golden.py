"""The rows that `datasets` streams, shuffled with a buffer, to the workers of torch's DataLoader: tests/golden/data/stream_order.json.

    python tests/reference/stream_order_golden.py

Each case: rows of each data set, workers, buffer_size, seed; `order` has a list per epoch of the batches of `batch` rows,
a row as [data set, row], as LLaMA-Factory asks for them: to_iterable_dataset, concatenate_datasets, shuffle, DataLoader.
"""

import json
import pathlib

from datasets import Dataset, concatenate_datasets
from torch.utils.data import DataLoader

CASES = [
    {"rows": [7], "workers": 1, "buffer_size": 3, "seed": 42, "batch": 2},
    {"rows": [5], "workers": 1, "buffer_size": 16384, "seed": 7, "batch": 1},
    {"rows": [6], "workers": 1, "buffer_size": 1, "seed": 42, "batch": 4},
    {"rows": [11, 6], "workers": 2, "buffer_size": 4, "seed": 42, "batch": 2},
    {"rows": [7, 4, 9], "workers": 3, "buffer_size": 2, "seed": 1, "batch": 3},
    {"rows": [1100], "workers": 1, "buffer_size": 40, "seed": 3, "batch": 100},
]


def order(case: dict) -> list:
    sets = []
    for number, rows in enumerate(case["rows"]):
        data = Dataset.from_list([{"row": [number, row]} for row in range(rows)])
        sets.append(data.to_iterable_dataset(num_shards=case["workers"]))
    merged = sets[0] if len(sets) == 1 else concatenate_datasets(sets)
    stream = merged.shuffle(buffer_size=case["buffer_size"], seed=case["seed"]).map(lambda row: row)
    epochs = []
    for epoch in range(3 if sum(case["rows"]) < 100 else 1):
        stream.set_epoch(epoch)
        loader = DataLoader(stream, batch_size=case["batch"], num_workers=case["workers"], collate_fn=list)
        epochs.append([[item["row"] for item in batch] for batch in loader])
    return epochs


if __name__ == "__main__":
    out = pathlib.Path(__file__).resolve().parents[1] / "golden/data/stream_order.json"
    lines = [json.dumps(case | {"order": order(case)}, separators=(",", ":")) for case in CASES]
    out.write_text("[\n" + ",\n".join(lines) + "\n]\n")
