"""LLaMA-Factory's evaluations of qwen3_vl_tiny, on CPU: tests/golden/evaluation/<run>/.

    python tests/reference/evaluation_golden.py [--keep FOLDER]

train      evaluations during training and after it, at a last step that eval_steps does not divide; a short last batch
each       the same of two data sets, each by itself, with dataloader_drop_last
evaluate   do_eval alone
generate   do_eval and do_predict with predict_with_generate, prompts cut by cutoff_len

Written for each run: config.yaml (whoever uses the golden puts folders of their own for model_name_or_path,
dataset_dir and output_dir), trainer_log.jsonl, the *_results.json, log_history.json and generated_predictions.jsonl,
whichever the run wrote.
"""

import argparse
import json
import os
import pathlib
import shutil
import sys
import tempfile

import llamafactory_run
import make_tiny
import torch
import yaml

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden/evaluation"
BASE = """\
model_name_or_path: ./qwen3_vl_tiny
stage: sft
finetuning_type: lora
lora_rank: 4
dataset_dir: .
eval_dataset: exam
template: qwen3_vl_nothink
cutoff_len: 256
output_dir: ./saves
overwrite_output_dir: true
report_to: none
use_cpu: true
per_device_eval_batch_size: 2
"""
GENERATE = """\
do_eval: true
do_predict: true
predict_with_generate: true
do_sample: false
temperature: 1.0
top_p: 1.0
max_new_tokens: 8
cutoff_len: 40
"""
RUNS = {
    "train": """\
do_train: true
dataset: exam
per_device_train_batch_size: 2
gradient_accumulation_steps: 3
learning_rate: 1.0e-3
num_train_epochs: 2.0
lr_scheduler_type: constant_with_warmup
warmup_ratio: 0.0
warmup_steps: 3
logging_steps: 2
save_strategy: "no"
eval_strategy: steps
eval_steps: 3
include_num_input_tokens_seen: non_padding
""",
    "each": """\
do_train: true
do_eval: true
dataset: exam
eval_dataset: exam, exam_start
eval_on_each_dataset: true
dataloader_drop_last: true
per_device_train_batch_size: 2
gradient_accumulation_steps: 3
learning_rate: 1.0e-3
num_train_epochs: 2.0
lr_scheduler_type: constant
logging_steps: 2
save_strategy: epoch
eval_strategy: epoch
load_best_model_at_end: true
metric_for_best_model: exam_start_loss
include_num_input_tokens_seen: non_padding
""",
    "evaluate": "do_eval: true\ninclude_num_input_tokens_seen: non_padding\n",
    "generate": GENERATE,
}


def settings(run: str) -> dict:
    return yaml.safe_load(BASE) | yaml.safe_load(RUNS[run])


def execute(run: str, work: pathlib.Path) -> None:
    make_tiny.write_weights(work)
    out, target = work / "saves" / run, GOLDEN / run
    config = settings(run) | {
        "model_name_or_path": str(work / "qwen3_vl_tiny"),
        "dataset_dir": str(GOLDEN),
        "output_dir": str(out),
    }
    llamafactory_run.stand_in_for_torchaudio()
    from llamafactory.train.tuner import run_exp

    run_exp(config)
    target.mkdir(parents=True, exist_ok=True)
    (target / "config.yaml").write_text(yaml.safe_dump(settings(run), sort_keys=False))
    for file in [*out.glob("*_results.json"), *out.glob("*.jsonl")]:
        if file.name != "all_results.json":
            shutil.copy(file, target / file.name)
    if (out / "trainer_state.json").exists():
        history = json.loads((out / "trainer_state.json").read_text())["log_history"]
        llamafactory_run.write_lines(target / "log_history.json", history)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--run", choices=RUNS, help="default: all, one process each")
    arguments.add_argument("--keep", type=pathlib.Path, help="work here and leave the models and saves in place")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    if options.run is None:
        for run in RUNS:
            keep = ["--keep", str(options.keep)] if options.keep else []
            if os.spawnv(os.P_WAIT, sys.executable, [sys.executable, __file__, "--run", run, *keep]):
                raise SystemExit(f"run {run} failed")
        return
    with tempfile.TemporaryDirectory() as temporary:
        execute(options.run, (options.keep or pathlib.Path(temporary)).resolve())


if __name__ == "__main__":
    main()
