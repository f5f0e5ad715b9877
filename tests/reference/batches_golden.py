"""Writes tests/golden/data/batches.json: the rows of each batch of each process, as torch, accelerate and transformers deal
them, and the steps that transformers' Trainer counts.

    python tests/reference/batches_golden.py

transformers 5.6, accelerate 1.11. Each case: rows, batch (rows of a micro-batch), ranks, accumulation, drop_last, shuffled;
steps_per_epoch, total_steps (of 2.5 epochs); epochs[epoch][rank]: its batches, in order.
"""

import json
import pathlib
import types

from accelerate.data_loader import BatchSamplerShard, SeedableRandomSampler
from torch.utils.data import BatchSampler, SequentialSampler
from transformers import Trainer

SEED, EPOCHS = 42, 2.5


def batches_of(case, epoch, rank):
    data = range(case["rows"])
    order = SeedableRandomSampler(data, data_seed=SEED) if case["shuffled"] else SequentialSampler(data)
    if case["shuffled"]:
        order.set_epoch(epoch)
    batches = BatchSampler(order, case["batch"], case["drop_last"])
    return BatchSamplerShard(batches, case["ranks"], rank) if case["ranks"] > 1 else batches  # as prepare_data_loader does


class Loader:
    """What the trainer asks a data loader for."""

    def __init__(self, case):
        self.dataset, self.batches = range(case["rows"]), batches_of(case, 0, 0)

    def __len__(self):
        return len(self.batches)


def counted(case):
    trainer = types.SimpleNamespace(
        get_total_train_batch_size=lambda args: case["batch"] * case["ranks"] * case["accumulation"],
        get_sp_size=lambda: 1, num_examples=lambda loader: len(loader.dataset))
    args = types.SimpleNamespace(max_steps=-1, num_train_epochs=EPOCHS, gradient_accumulation_steps=case["accumulation"])
    values = Trainer.set_initial_training_values(trainer, args, Loader(case))
    return {"steps_per_epoch": values[1], "total_steps": values[-1]}


def main():
    cases = []
    for rows, batch, ranks, accumulation in [(11, 2, 1, 2), (12, 2, 1, 2), (11, 2, 2, 2), (17, 3, 2, 1), (23, 2, 3, 2), (5, 5, 1, 4)]:
        for drop_last in (True, False):
            for shuffled in (True, False):
                case = {"rows": rows, "batch": batch, "ranks": ranks, "accumulation": accumulation, "drop_last": drop_last,
                        "shuffled": shuffled}
                epochs = [[list(batches_of(case, epoch, rank)) for rank in range(ranks)] for epoch in range(2)]
                cases.append({**case, **counted(case), "epochs": epochs})
    path = pathlib.Path(__file__).parents[1] / "golden" / "data" / "batches.json"
    path.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


main()
