"""LLaMA-Factory itself, on CPU, on its own demo data with qwen3_vl_tiny: tests/golden/llamafactory/<run>/.

    python tests/reference/llamafactory_run.py --data LLAMAFACTORY/data [--run NAME ...] [--keep FOLDER]

Written for each run:

    config.yaml            the settings, as LLaMA-Factory and lamina-train read them; whoever uses the golden puts
                           folders of their own for model_name_or_path, dataset_dir and output_dir
    trainer_log.jsonl      as LLaMA-Factory writes it (elapsed and remaining times are this machine's)
    steps.json             log_history of trainer_state.json: loss, grad_norm, learning_rate of each step, all digits
    train_results.json     as written
    samples.json           each encoded training sample in file order: length, number of labelled tokens, FNV-1a 64 of
                           the ids and of the labels (as little-endian int32), and, for some, both in full
    order.json             the samples in the order in which the trainer computes their losses, epoch after epoch
    micro_losses.json      the loss of each micro-batch in that order
    adapter.json           per trained tensor, in the order of the module tree, PEFT's saved names: L2 norm and first 4
                           values, before and after training; for adapters also FNV-1a 64 of the initial bytes
    rng.json               whether the CPU generator is fresh from the seed when the adapters are about to be drawn
"""

import argparse
import importlib.machinery
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile
import types

os.environ.setdefault("DISABLE_VERSION_CHECK", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import deterministic_weights
import make_tiny
import numpy as np
import torch
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE = """
### model
model_name_or_path: ./qwen3_vl_tiny
image_max_pixels: 262144
video_max_pixels: 16384
trust_remote_code: true
### method
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all
### dataset
dataset: mllm_demo,identity,alpaca_en_demo
dataset_dir: ./data
template: qwen3_vl_nothink
cutoff_len: 2048
max_samples: 24
overwrite_cache: true
preprocessing_num_workers: 1
dataloader_num_workers: 2
### output
output_dir: ./saves
logging_steps: 1
save_steps: 500
plot_loss: true
overwrite_output_dir: true
save_only_model: false
report_to: none            # none, wandb, tensorboard, swanlab, mlflow
### train
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 2.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: false
ddp_timeout: 180000000
resume_from_checkpoint: null
"""
VIDEO = {
    "dataset": "mllm_video_demo",
    "num_train_epochs": 4.0,
    "gradient_accumulation_steps": 1,
    "max_steps": 10,
    "learning_rate": 1.0e-3,
}
RUNS = {
    "qwen3_vl_nothink": ("qwen3_vl_tiny", {}),
    "qwen3_vl": (
        "qwen3_vl_tiny",
        {"template": "qwen3_vl", "max_samples": 9, "num_train_epochs": 1.0, "gradient_accumulation_steps": 4},
    ),
    "vision_lora": (
        "qwen3_vl_tiny",
        {
            "freeze_vision_tower": False,
            "freeze_multi_modal_projector": False,
            "max_samples": 6,
            "num_train_epochs": 1.0,
            "gradient_accumulation_steps": 4,
            "learning_rate": 1.0e-3,
            "lora_rank": 4,
            "lora_alpha": 8,
            "seed": 7,
        },
    ),
    "full": (
        "qwen3_vl_tiny",
        {
            "finetuning_type": "full",
            "max_samples": 6,
            "num_train_epochs": 1.0,
            "gradient_accumulation_steps": 4,
            "learning_rate": 1.0e-4,
            "lr_scheduler_type": "linear",
            "weight_decay": 0.1,
        },
    ),
    "qwen2_vl": (
        "qwen2_5_vl_tiny",
        {"template": "qwen2_vl", "max_samples": 9, "num_train_epochs": 1.0, "gradient_accumulation_steps": 4},
    ),
    "video": ("qwen3_vl_tiny", VIDEO),
    "video_qwen2_vl": ("qwen2_5_vl_tiny", VIDEO | {"template": "qwen2_vl"}),
    "cutoff": (
        "qwen3_vl_tiny",
        {"dataset": "identity,alpaca_en_demo", "cutoff_len": 96, "max_samples": 16, "num_train_epochs": 1.0},
    ),
}


def digest(ids) -> int:
    return deterministic_weights.fnv1a64(np.asarray(ids, dtype="<i4").tobytes())


def tensor_facts(tensor: torch.Tensor) -> dict:
    flat = tensor.detach().float().reshape(-1)
    return {"shape": list(tensor.shape), "norm": float(flat.double().norm()), "first": flat[:4].tolist()}


def initial_facts(name: str, tensor: torch.Tensor) -> dict:
    facts = tensor_facts(tensor)
    if "lora_" in name:
        facts["fnv1a64"] = deterministic_weights.fnv1a64(tensor.numpy().tobytes())
    return facts


def stand_in_for_torchaudio() -> None:
    """LLaMA-Factory imports torchaudio on sight, whose CUDA build may not load on a CPU; nothing here has sound."""
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
        module = types.ModuleType("torchaudio")
        module.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
        module.__version__ = "0"
        sys.modules["torchaudio"] = module


def place_videos_as_trained() -> None:
    """Positions of Qwen2.5-VL's videos as its own fine-tuning code and vLLM have them: time is floor(frame *
    second_per_grid * tokens_per_second), and text goes on after the largest position of any axis. transformers 5.6
    truncates second_per_grid first, and lets the text after a video begin inside its time."""
    import itertools

    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel

    def get_rope_index(self, input_ids, mm_token_type_ids, image_grid_thw=None, video_grid_thw=None,
                       second_per_grid_ts=None, attention_mask=None, **kwargs):  # fmt: skip
        vision = self.config.vision_config
        positions = torch.zeros(3, *input_ids.shape, dtype=input_ids.dtype)
        grids = {1: iter([] if image_grid_thw is None else image_grid_thw), 2: iter([] if video_grid_thw is None else video_grid_thw)}
        seconds, deltas = iter([] if second_per_grid_ts is None else second_per_grid_ts), []
        for row, types in enumerate(mm_token_type_ids):
            kept = torch.ones_like(types).bool() if attention_mask is None else attention_mask[row].bool()
            start, parts = 0, []
            for kind, group in itertools.groupby(types[kept].tolist()):
                length = len(list(group))
                if kind == 0:
                    parts.append(torch.arange(length).expand(3, -1) + start)
                else:
                    t, h, w = (int(n) for n in next(grids[kind]))
                    h, w = h // vision.spatial_merge_size, w // vision.spatial_merge_size
                    step = torch.tensor(float(next(seconds)) if kind == 2 else 0.0) * vision.tokens_per_second
                    time = (torch.arange(t) * step).long()
                    grid = torch.meshgrid(time, torch.arange(h), torch.arange(w), indexing="ij")
                    parts.append(torch.stack([axis.flatten() for axis in grid]) + start)
                start = int(parts[-1].max()) + 1
            whole = torch.cat(parts, dim=1)
            positions[:, row, kept] = whole.to(positions.dtype)
            deltas.append(whole.max() + 1 - len(input_ids[row]))
        return positions, torch.stack(deltas).unsqueeze(1)

    Qwen2_5_VLModel.get_rope_index = get_rope_index


class Recorder:
    """Watches a run from inside: what is drawn, what is fed, what each loss was."""

    def __init__(self):
        self.initial, self.micro_losses, self.fed, self.rng, self.samples = {}, [], [], {}, []

    def install(self):
        import llamafactory.model.adapter as adapter
        import llamafactory.train.sft.trainer as trainer
        import llamafactory.train.sft.workflow as workflow

        recorder, original_peft, original_load = self, adapter.get_peft_model, workflow.load_model
        original_loss = trainer.CustomSeq2SeqTrainer.compute_loss
        original_init = trainer.CustomSeq2SeqTrainer.__init__

        def get_peft_model(model, config, *args, **kwargs):
            seed = torch.default_generator.initial_seed()
            fresh = torch.Generator().manual_seed(seed).get_state()
            recorder.rng = {"seed": seed, "fresh_before_adapters": bool(torch.equal(torch.get_rng_state(), fresh))}
            return original_peft(model, config, *args, **kwargs)

        def load_model(*args, **kwargs):
            model = original_load(*args, **kwargs)
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    recorder.initial[name.replace(".default.", ".")] = parameter.detach().clone()
            return model

        def compute_loss(self, model, inputs, *args, **kwargs):
            loss = original_loss(self, model, inputs, *args, **kwargs)
            recorder.fed.append(
                [row[mask.bool()].tolist() for row, mask in zip(inputs["input_ids"], inputs["attention_mask"])]
            )
            recorder.micro_losses.append(float((loss[0] if isinstance(loss, tuple) else loss).detach()))
            return loss

        def init(self, *args, **kwargs):
            original_init(self, *args, **kwargs)
            recorder.samples = [(row["input_ids"], row["labels"]) for row in self.train_dataset]

        adapter.get_peft_model, workflow.load_model = get_peft_model, load_model
        trainer.CustomSeq2SeqTrainer.compute_loss, trainer.CustomSeq2SeqTrainer.__init__ = compute_loss, init

    def order(self) -> list:
        """Indices into samples; equal samples are told apart by taking the first that this epoch has not seen."""
        where: dict[int, list[int]] = {}
        for i, (ids, _) in enumerate(self.samples):
            where.setdefault(digest(ids), []).append(i)
        seen: dict[int, int] = {}
        order = []
        for batch in self.fed:
            for ids in batch:
                key = digest(ids)
                candidates = where[key]
                order.append(candidates[seen.get(key, 0) % len(candidates)])
                seen[key] = seen.get(key, 0) + 1
        return order


def settings(run: str) -> str:
    """BASE with the run's own values in place."""
    text = BASE.lstrip()
    for key, value in ({"model_name_or_path": f"./{RUNS[run][0]}"} | RUNS[run][1]).items():
        line = f"{key}: {str(value).lower() if isinstance(value, bool) else value}"
        text, found = re.subn(rf"(?m)^{key}: .*$", line, text)
        if not found:
            text += line + "\n"
    return text


def write_lines(path: pathlib.Path, rows) -> None:
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


def execute(run: str, data: pathlib.Path, work: pathlib.Path) -> None:
    """Runs LLaMA-Factory in this process and writes the golden; one process a run."""
    make_tiny.write_weights(work)
    out, target = work / "saves" / run, ROOT / "tests/golden/llamafactory" / run
    config = yaml.safe_load(settings(run)) | {
        "model_name_or_path": str(work / RUNS[run][0]),
        "dataset_dir": str(data),
        "output_dir": str(out),
    }
    stand_in_for_torchaudio()
    place_videos_as_trained()
    recorder = Recorder()
    recorder.install()
    from llamafactory.train.tuner import run_exp

    run_exp(config)

    target.mkdir(parents=True, exist_ok=True)
    (target / "config.yaml").write_text(settings(run))
    for file in ("trainer_log.jsonl", "train_results.json"):
        shutil.copy(out / file, target / file)
    if (out / "adapter_config.json").exists():
        adapter_config = json.loads((out / "adapter_config.json").read_text()) | {
            "base_model_name_or_path": f"./{RUNS[run][0]}"
        }
        adapter_config["target_modules"] = sorted(adapter_config["target_modules"])
        (target / "adapter_config.json").write_text(json.dumps(adapter_config, indent=2, sort_keys=True) + "\n")
    write_lines(target / "steps.json", json.loads((out / "trainer_state.json").read_text())["log_history"])
    full = {0, 1, len(recorder.samples) // 2, len(recorder.samples) - 1}
    write_lines(
        target / "samples.json",
        [
            {
                "index": i,
                "length": len(ids),
                "labelled": sum(label != -100 for label in labels),
                "ids_fnv1a64": digest(ids),
                "labels_fnv1a64": digest(labels),
            }
            | ({"ids": ids, "labels": labels} if i in full else {})
            for i, (ids, labels) in enumerate(recorder.samples)
        ],
    )
    (target / "order.json").write_text(json.dumps(recorder.order()) + "\n")
    (target / "micro_losses.json").write_text(json.dumps(recorder.micro_losses) + "\n")
    write_lines(
        target / "adapter.json",
        [
            {"name": name} | {"initial": initial_facts(name, value), "final": tensor_facts(final)}
            for (name, value), final in zip(recorder.initial.items(), final_tensors(out, recorder.initial))
        ],
    )
    (target / "rng.json").write_text(json.dumps(recorder.rng) + "\n")


def final_tensors(out: pathlib.Path, initial: dict):
    from safetensors.torch import load_file

    file = out / "adapter_model.safetensors"
    tensors = load_file(file if file.exists() else out / "model.safetensors")
    return [tensors[name] for name in initial]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=pathlib.Path, required=True, help="LLaMA-Factory's data folder")
    arguments.add_argument("--run", choices=RUNS, action="append", help="default: all")
    arguments.add_argument("--keep", type=pathlib.Path, help="work here and leave the models and saves in place")
    options = arguments.parse_args()
    runs = options.run or list(RUNS)
    torch.set_num_threads(2)
    if len(runs) > 1:  # one process each: LLaMA-Factory keeps global state
        for run in runs:
            arguments = [sys.executable, __file__, "--data", str(options.data), "--run", run]
            status = os.spawnv(
                os.P_WAIT, sys.executable, arguments + (["--keep", str(options.keep)] if options.keep else [])
            )
            if status:
                raise SystemExit(f"run {run} failed")
        return
    with tempfile.TemporaryDirectory() as temporary:
        execute(runs[0], options.data.resolve(), (options.keep or pathlib.Path(temporary)).resolve())


if __name__ == "__main__":
    main()
