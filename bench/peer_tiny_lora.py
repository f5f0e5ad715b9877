"""The peer of a LoRA step of qwen3_vl_tiny on CPU: transformers + peft, as LLaMA-Factory drives them.

    OMP_NUM_THREADS=2 python bench/peer_tiny_lora.py [--steps 10] [--threads 2]

One step: 8 samples of one 256 x 256 image (64 tokens) and 60 text tokens, 30 of them labelled; micro-batch 1, accumulation 8, rank 8 on
every linear of the decoder, frozen vision tower, fp32, AdamW (fused), clipping. Prints a JSON line for gradient checkpointing on
(LLaMA-Factory's default) and off: the best of `steps` after two to warm up.
"""

import argparse
import json
import pathlib
import sys
import time

import torch
from peft import LoraConfig, get_peft_model

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/reference"))
import parity  # noqa: E402

NAME, SAMPLES = "qwen3_vl_tiny", 8


def make_model(checkpointing: bool):
    torch.manual_seed(42)
    model = parity.base_model(NAME, torch.float32)
    model.set_attn_implementation("sdpa")
    model.config.use_cache = False
    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=parity.DECODER, task_type="CAUSAL_LM"))
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
        model.enable_input_require_grads()
    return model.train()


def make_samples():
    config = parity.config_of(NAME)
    samples = [parity.Sequence(config, "A", [(1, 16, 16)], [8, 50], 30, f"bench.{i}") for i in range(SAMPLES)]
    return [sample.inputs(torch.float32) | {"labels": sample.target()} for sample in samples]


def measure(checkpointing: bool, steps: int) -> dict:
    model, samples = make_model(checkpointing), make_samples()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    seconds, losses = [], []
    for _ in range(steps + 2):
        start, total = time.perf_counter(), 0.0
        for sample in samples:
            loss = model(**sample).loss / SAMPLES
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
        losses.append(total)
    timed = sorted(seconds[2:])
    return {
        "peer": f"transformers+peft, torch {torch.__version__}", "threads": torch.get_num_threads(), "gradient_checkpointing": checkpointing,
        "tokens_per_sample": samples[0]["input_ids"].shape[1], "step_ms": round(1e3 * timed[0], 1), "median_step_ms": round(1e3 * timed[len(timed) // 2], 1),
        "samples_per_s": round(SAMPLES / timed[0], 2), "first_loss": losses[0], "last_loss": losses[-1],
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--steps", type=int, default=10)
    arguments.add_argument("--threads", type=int, default=2)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    for checkpointing in (True, False):
        print(json.dumps(measure(checkpointing, options.steps)), flush=True)


if __name__ == "__main__":
    main()
