"""Writes tests/golden/train/: what transformers' Trainer and its schedulers write and compute.

    python tests/reference/trainer_files.py tests/golden/train

A two-parameter model is trained on 11 rows, batch 2, accumulation 2, so that the last window of each epoch is short.
Times and rates differ from run to run; the tests compare names, order, types and everything that is not a time.
"""
import json
import pathlib
import sys
import tempfile

import torch
import transformers

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)


class Line(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor([0.25, -0.5]))

    def forward(self, x, labels):
        y = self.w[0] * x + self.w[1]
        return {"loss": ((y - labels) ** 2).mean(), "logits": y}


rows = [{"x": torch.tensor(i / 10), "labels": torch.tensor(1.0 + i / 5)} for i in range(11)]
with tempfile.TemporaryDirectory() as folder:
    arguments = transformers.TrainingArguments(
        output_dir=folder, per_device_train_batch_size=2, gradient_accumulation_steps=2, num_train_epochs=2,
        logging_steps=2, save_steps=4, eval_strategy="steps", eval_steps=3, per_device_eval_batch_size=2,
        learning_rate=0.05, lr_scheduler_type="cosine", warmup_steps=2, report_to="none", use_cpu=True, seed=42,
        dataloader_pin_memory=False)
    trainer = transformers.Trainer(model=Line(), args=arguments, train_dataset=rows, eval_dataset=rows[:5])
    result = trainer.train()
    trainer.log_metrics("train", result.metrics)
    trainer.save_metrics("train", result.metrics)
    trainer.save_state()
    metrics = trainer.evaluate()
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)
    for name in ("trainer_state.json", "train_results.json", "eval_results.json", "all_results.json"):
        (out / name).write_text((pathlib.Path(folder) / name).read_text())
    print(sorted(p.name for p in pathlib.Path(folder).glob("checkpoint-*")))

schedules = []
for name, steps, warmup, extra in [
    ("linear", 50, 7, {}), ("cosine", 411, 42, {}), ("cosine", 60, 5, {"num_cycles": 1.5}),
    ("cosine_with_restarts", 60, 5, {"num_cycles": 3}), ("polynomial", 50, 5, {"power": 2.0, "lr_end": 1e-6}),
    ("polynomial", 50, 0, {}), ("constant", 10, 0, {}), ("constant_with_warmup", 20, 6, {}),
    ("inverse_sqrt", 60, 8, {}), ("inverse_sqrt", 60, 0, {}), ("inverse_sqrt", 60, 8, {"timescale": 20}),
    ("cosine_with_min_lr", 60, 6, {"min_lr_rate": 0.1}), ("cosine_with_min_lr", 60, 6, {"min_lr": 2e-5}),
    ("cosine_warmup_with_min_lr", 60, 6, {"min_lr_rate": 0.1}), ("cosine_warmup_with_min_lr", 60, 0, {"min_lr": 2e-5}),
    ("cosine_warmup_with_min_lr", 60, 6, {"min_lr_rate": 0.1, "warmup_lr_rate": 0.3, "num_cycles": 1.5}),
    ("warmup_stable_decay", 60, 6, {"num_stable_steps": 18, "num_decay_steps": 36}),
    ("warmup_stable_decay", 60, 6, {"num_stable_steps": 20, "num_decay_steps": 30, "warmup_type": "cosine",
                                    "decay_type": "linear", "min_lr_ratio": 0.05}),
    ("warmup_stable_decay", 60, 6, {"num_stable_steps": 20, "num_decay_steps": 34, "decay_type": "1-sqrt"}),
]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-4)
    scheduler = transformers.get_scheduler(name, optimizer, warmup, steps, scheduler_specific_kwargs=extra)
    values = []
    for _ in range(steps + 3):
        values.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    schedules.append({"type": name, "steps": steps, "warmup": warmup, "kwargs": extra, "lr": values})
(out / "schedules.json").write_text(json.dumps(schedules))
