"""Thirty LoRA steps of Qwen3-VL-2B (random weights) on LLaMA-Factory's demo data: Lamina's losses beside transformers'.

    python bench/gpu/losses.py inputs  FOLDER --data LLAMAFACTORY/data --tokenizer QWEN3_TOKENIZER
    python bench/gpu/losses.py compare FOLDER --data LLAMAFACTORY/data --bin BUILD/bin

inputs lets LLaMA-Factory itself encode and order the samples (on a CPU, with a model of the same vocabulary and two
small layers) and keeps what reached its loss. compare needs a GPU, torch, transformers and peft: from one set of
initial adapters it runs transformers + peft as LLaMA-Factory drives them, in bf16 more than once (the same settings
again, another attention, adapters drawn from other seeds) and in fp32, and lamina-train in bf16. It prints every loss,
how far the bf16 runs of transformers are from each other and from fp32, and how far ours is from them. One more run
tells where they part: peft rounds a base product to bf16 before it adds the adapter's; "summed" is transformers in bf16
where that sum is rounded once.
"""

import argparse
import contextlib
import itertools
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import torch
import yaml

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
STEPS, ACCUMULATION, SEED = 30, 4, 42
SETTINGS = {
    "image_max_pixels": 262144,
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "lora",
    "lora_rank": 8,
    "lora_target": "all",
    "dataset": "mllm_demo,identity,alpaca_en_demo",
    "template": "qwen3_vl_nothink",
    "cutoff_len": 2048,
    "max_samples": 24,
    "preprocessing_num_workers": 1,
    "dataloader_num_workers": 2,
    "logging_steps": 1,
    "save_strategy": "no",
    "overwrite_output_dir": True,
    "report_to": "none",
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": ACCUMULATION,
    "learning_rate": 1.0e-4,
    "max_steps": STEPS,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.1,
    "seed": SEED,
}


def write_shape(folder: pathlib.Path, tokenizer: pathlib.Path) -> None:
    """A model directory of the 2B's sizes without weights."""
    from peer import qwen3_vl_2b

    folder.mkdir(parents=True, exist_ok=True)
    config = qwen3_vl_2b()[1]
    config.architectures = ["Qwen3VLForConditionalGeneration"]
    config.image_token_id, config.video_token_id = 151655, 151656
    config.vision_start_token_id, config.vision_end_token_id = 151652, 151653
    config.text_config.bos_token_id, config.text_config.eos_token_id = 151643, 151645
    (folder / "config.json").write_text(json.dumps(config.to_dict(), indent=2))
    for file in tokenizer.glob("*.json"):
        shutil.copyfile(file, folder / file.name)
    for file in (HERE.parent / "data/qwen3_vl_tiny").glob("*preprocessor_config.json"):
        shutil.copyfile(file, folder / file.name)


def inputs(options) -> None:
    sys.path.insert(0, str(HERE.parent / "tests/reference"))
    import llamafactory_run

    write_shape(options.folder / "shape", options.tokenizer)
    llamafactory_run.stand_in_for_torchaudio()
    import llamafactory.train.sft.trainer as trainer
    from llamafactory.train.tuner import run_exp
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    arrays, count = {}, itertools.count()
    original = trainer.CustomSeq2SeqTrainer.compute_loss

    def compute_loss(self, model, batch, *args, **kwargs):
        i = next(count)
        arrays["samples"] = np.array(len(self.train_dataset))
        for key in ("input_ids", "labels", "pixel_values", "image_grid_thw"):
            if batch.get(key) is not None:
                arrays[f"{i}.{key}"] = batch[key].numpy()
        return original(self, model, batch, *args, **kwargs)

    trainer.CustomSeq2SeqTrainer.compute_loss = compute_loss
    with tempfile.TemporaryDirectory() as temporary:
        small = pathlib.Path(temporary) / "model"
        shutil.copytree(options.folder / "shape", small)
        sizes = json.loads((small / "config.json").read_text())
        sizes["text_config"].update(
            hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1
        )
        sizes["vision_config"].update(
            hidden_size=32, intermediate_size=32, depth=1, num_heads=1, out_hidden_size=64, deepstack_visual_indexes=[0]
        )
        Qwen3VLForConditionalGeneration(Qwen3VLConfig(**sizes)).save_pretrained(small)
        own = {"model_name_or_path": str(small), "dataset_dir": str(options.data), "output_dir": temporary + "/out"}
        run_exp(SETTINGS | own | {"bf16": False})
    np.savez_compressed(options.folder / "inputs.npz", **arrays)
    print(f"{next(count)} micro-batches in {options.folder / 'inputs.npz'}")


def steps_of_micro_batches(folder: pathlib.Path, config) -> list[list[dict]]:
    stored, batches = np.load(folder / "inputs.npz"), []
    while f"{len(batches)}.input_ids" in stored:
        keys = [key for key in stored.files if key.startswith(f"{len(batches)}.")]
        batch = {key.split(".")[1]: torch.from_numpy(stored[key]).cuda() for key in keys}
        batch["mm_token_type_ids"] = (batch["input_ids"] == config.image_token_id).int()
        batches.append(batch)
    steps, epoch = [], int(stored["samples"])
    for begin in range(0, len(batches), epoch):  # the last step of an epoch has fewer
        part = batches[begin : begin + epoch]
        steps += [part[i : i + ACCUMULATION] for i in range(0, len(part), ACCUMULATION)]
    return steps[:STEPS]


def make_model(folder: pathlib.Path, dtype, attention: str):
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(folder / "model", dtype=dtype, attn_implementation=attention)
    return model.requires_grad_(False)


def start(folder: pathlib.Path, seed: int) -> pathlib.Path:
    """The adapters that runs of a seed start from."""
    from peer import adapters
    from peft import get_peft_model

    where = folder / f"start-{seed}"
    if not where.exists():
        torch.manual_seed(seed)
        model = get_peft_model(make_model(folder, torch.bfloat16, "sdpa"), adapters(SETTINGS["lora_rank"]))
        model.save_pretrained(where)
    return where


@contextlib.contextmanager
def rounded_once():
    """Within it peft's adapted linear layers add their products in fp32 and round the sum to the input's type."""
    from peft.tuners.lora.layer import Linear
    from torch.nn.functional import linear

    def forward(self, x, *_, **__):
        (adapter,) = self.active_adapters
        down, up = self.lora_A[adapter].weight, self.lora_B[adapter].weight
        with torch.autocast("cuda", enabled=False):
            base = linear(x.float(), self.base_layer.weight.float())
            return (base + self.scaling[adapter] * linear(linear(x.float(), down), up)).to(x.dtype)

    original, Linear.forward = Linear.forward, forward
    yield
    Linear.forward = original


def peer_losses(folder: pathlib.Path, dtype, attention: str, seed: int) -> list[float]:
    from peer import checkpointed
    from peft import PeftModel
    from transformers import get_scheduler

    model = PeftModel.from_pretrained(make_model(folder, dtype, attention), start(folder, seed), is_trainable=True)
    model = checkpointed(model.cuda())
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=SETTINGS["learning_rate"], weight_decay=0.0)
    schedule = get_scheduler("cosine", optimizer, int(np.ceil(STEPS * SETTINGS["warmup_ratio"])), STEPS)
    losses = []
    for window in steps_of_micro_batches(folder, model.config):
        total = 0.0
        for batch in window:
            with torch.autocast("cuda", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
                loss = model(**batch, use_cache=False).loss / len(window)
            loss.backward()
            total += float(loss)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(total)
    return losses


def our_losses(folder: pathlib.Path, data: pathlib.Path, bin: pathlib.Path) -> list[float]:
    settings = SETTINGS | {
        "model_name_or_path": str(folder / "model"),
        "adapter_name_or_path": str(start(folder, SEED)),
        "dataset_dir": str(data),
        "output_dir": str(folder / "ours"),
        "bf16": True,
    }
    (folder / "ours.yaml").write_text(yaml.safe_dump(settings))
    subprocess.run([bin / "lamina-train", folder / "ours.yaml"], check=True)
    rows = [json.loads(line) for line in (folder / "ours/trainer_log.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if "loss" in row]


def apart(a: list[float], b: list[float]) -> float:
    return float(np.max(np.abs(np.array(a) - np.array(b))))


def compare(options) -> None:
    folder = options.folder
    if not (folder / "model").exists():
        init = ["--model", folder / "shape", "--out", folder / "model", "--dtype", "bfloat16", "--seed", "1"]
        subprocess.run([options.bin / "lamina-init", *init], check=True)
    runs = {"ours": our_losses(folder, options.data.resolve(), options.bin.resolve())}
    for name, dtype, attention, seed in (
        ("bf16 sdpa", torch.bfloat16, "sdpa", SEED),
        ("bf16 sdpa again", torch.bfloat16, "sdpa", SEED),
        ("bf16 eager", torch.bfloat16, "eager", SEED),
        ("bf16 seed 43", torch.bfloat16, "sdpa", 43),
        ("bf16 seed 44", torch.bfloat16, "sdpa", 44),
        ("summed", torch.bfloat16, "sdpa", SEED),
        ("fp32", torch.float32, "sdpa", SEED),
    ):
        with rounded_once() if name == "summed" else contextlib.nullcontext():
            runs[name] = peer_losses(folder, dtype, attention, seed)
        print(name, " ".join(f"{loss:.5f}" for loss in runs[name]), flush=True)
    print("step  " + "  ".join(f"{name:>15}" for name in runs))
    for step, losses in enumerate(zip(*runs.values(), strict=True), 1):
        print(f"{step:4}  " + "  ".join(f"{loss:15.5f}" for loss in losses))
    peers = [name for name in runs if name.startswith("bf16")]
    print("largest distance over the steps:")
    for a, b in itertools.combinations(peers, 2):
        print(f"  {a} and {b}: {apart(runs[a], runs[b]):.5f}")
    for name in [*peers, "summed"]:
        print(f"  ours and {name}: {apart(runs['ours'], runs[name]):.5f}")
    for name in ["ours", *peers, "summed"]:
        print(f"  {name} and fp32: {apart(runs[name], runs['fp32']):.5f}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("what", choices=["inputs", "compare"])
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("--data", type=pathlib.Path, required=True, help="LLaMA-Factory's data folder")
    arguments.add_argument("--tokenizer", type=pathlib.Path, help="inputs: a folder with Qwen3's tokenizer.json")
    arguments.add_argument("--bin", type=pathlib.Path, help="compare: where lamina-train and lamina-init are")
    options = arguments.parse_args()
    {"inputs": inputs, "compare": compare}[options.what](options)


if __name__ == "__main__":
    main()
