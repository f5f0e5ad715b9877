"""LLaMA-Factory itself as several processes on CPU, joined by gloo: tests/golden/llamafactory_ranks/<run>/.

    python tests/reference/llamafactory_ranks.py --data LLAMAFACTORY/data

Written for each run: config.yaml and trainer_log.jsonl as in llamafactory_run.py, and steps.json, the log_history.
The number of processes is that of the run's name.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import llamafactory_run as single
import make_tiny
import yaml

TARGET = single.ROOT / "tests/golden/llamafactory_ranks"
SHARED = {
    "max_samples": 7,
    "per_device_train_batch_size": 3,
    "gradient_accumulation_steps": 3,
    "learning_rate": 1.0e-3,
    "dataloader_num_workers": 0,
    "ddp_backend": "gloo",
    "use_cpu": True,
}
RANKS = {"lora_2": 2, "full_2": 2, "lora_4": 4}
for run in RANKS:
    single.RUNS[run] = ("qwen3_vl_tiny", SHARED | {"finetuning_type": run.split("_")[0]})


def execute(run: str, data: pathlib.Path, work: pathlib.Path) -> None:
    """In each process of a run; the first one writes the golden."""
    out, target = work / "saves" / run, TARGET / run
    single.stand_in_for_torchaudio()
    from llamafactory.train.tuner import run_exp

    model = str(work / single.RUNS[run][0])
    config = yaml.safe_load(single.settings(run))
    run_exp(config | {"model_name_or_path": model, "dataset_dir": str(data), "output_dir": str(out)})
    if os.environ["RANK"] != "0":
        return
    target.mkdir(parents=True, exist_ok=True)
    (target / "config.yaml").write_text(single.settings(run))
    shutil.copy(out / "trainer_log.jsonl", target)
    single.write_lines(target / "steps.json", json.loads((out / "trainer_state.json").read_text())["log_history"])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=pathlib.Path, required=True, help="LLaMA-Factory's data folder")
    arguments.add_argument("--run", choices=RANKS, action="append", help="default: all")
    arguments.add_argument("--work", type=pathlib.Path, help=argparse.SUPPRESS)  # of the processes of one run
    options = arguments.parse_args()
    if options.work:
        return execute(options.run[0], options.data, options.work)
    for run in options.run or RANKS:
        with tempfile.TemporaryDirectory() as work:
            make_tiny.write_weights(pathlib.Path(work))
            launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(RANKS[run]), "--standalone", "--"]
            own = [__file__, "--run", run, "--work", work, "--data", str(options.data.resolve())]
            subprocess.run(launch + own, check=True)


if __name__ == "__main__":
    main()
