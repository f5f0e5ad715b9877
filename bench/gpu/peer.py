"""The peer of bench_gpu_step: transformers + peft on the same GPU, driven as LLaMA-Factory drives them.

    python3 bench/gpu/peer.py [--case a|b|c|f|decode|all] [--checkpointing on|off|both] [--seconds 8] [--pieces M ...]

Weights are random, made on the GPU in bf16; adapters are fp32 under bf16 autocast, on the seven linears of every decoder
layer; the vision tower is frozen, attention is sdpa, AdamW is fused. A step: every micro-batch forward and backward,
clip, update.

    a        Qwen3-VL-2B, r = 8: 8 micro-batches of one sample: a 512 x 512 image (256 tokens) and 344 text tokens, the
             last 200 of them labelled
    b        Qwen3-VL-2B, r = 8: 16 sequences of 2048 text tokens a step, all labelled
    c        Qwen2.5-VL-7B, r = 16: 4 sequences of 4096 text tokens a step, all labelled
    f        Qwen3-VL-2B, the whole decoder trained, its weights in fp32 under bf16 autocast: b's sequences
    decode   Qwen3-VL-2B: greedy, one stream, 1024 tokens of context; the prompt's own time is taken off

Prints one line a case and setting: the median of the steps that fit into --seconds after one to warm up, and the peak of
allocated memory in GiB (2^30 bytes). b, c and f are tried with the micro-batches of --pieces sequences: the best counts.
"""

import argparse
import dataclasses
import gc
import statistics
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

DECODER_LINEARS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


def qwen3_vl_2b():
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True}
    text = {
        "vocab_size": 151936,
        "hidden_size": 2048,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 6144,
        "max_position_embeddings": 262144,
        "rms_norm_eps": 1e-6,
        "rope_theta": 5e6,
        "rope_parameters": rope,
        "tie_word_embeddings": True,
    }
    vision = {
        "depth": 24,
        "hidden_size": 1024,
        "num_heads": 16,
        "intermediate_size": 4096,
        "patch_size": 16,
        "temporal_patch_size": 2,
        "spatial_merge_size": 2,
        "out_hidden_size": 2048,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": [5, 11, 17],
    }
    config = Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True)
    return Qwen3VLForConditionalGeneration, config


def qwen2_5_vl_7b():
    text = {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "intermediate_size": 18944,
        "max_position_embeddings": 128000,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        "tie_word_embeddings": False,
    }
    vision = {
        "depth": 32,
        "hidden_size": 1280,
        "num_heads": 16,
        "intermediate_size": 3420,
        "patch_size": 14,
        "out_hidden_size": 3584,
        "fullatt_block_indexes": [7, 15, 23, 31],
        "window_size": 112,
    }
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False)
    return Qwen2_5_VLForConditionalGeneration, config


@dataclasses.dataclass
class Case:
    model: object  # returns the class and the config
    rank: int  # of the adapters; 0: the decoder itself is trained
    sequences: int  # a step
    tokens: int  # a sequence, image tokens included
    labelled: int
    pieces: tuple  # sequences a micro-batch: one run each
    image: bool = False


CASES = {
    "a": Case(qwen3_vl_2b, 8, 8, 600, 200, (1,), image=True),
    "b": Case(qwen3_vl_2b, 8, 16, 2048, 2048, (4, 16)),
    "c": Case(qwen2_5_vl_7b, 16, 4, 4096, 4096, (1, 2)),
    "f": Case(qwen3_vl_2b, 0, 16, 2048, 2048, (1, 4)),
}
IMAGE_PATCHES, IMAGE_TOKENS = 32, 256  # 512 x 512 pixels: 32 x 32 patches, merged by four


def random_model(make):
    model_class, config = make()
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = model_class._from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    return model.requires_grad_(False)


def learning(make, rank: int, checkpointing: bool):
    model = random_model(make)
    if rank > 0:
        model = get_peft_model(model, adapters(rank))  # makes the adapters fp32
    else:
        for name, parameter in model.named_parameters():
            if "visual" not in name:
                parameter.data = parameter.data.float()
                parameter.requires_grad_(True)
    return checkpointed(model) if checkpointing else model.train()


def adapters(rank: int) -> LoraConfig:
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=DECODER_LINEARS, task_type="CAUSAL_LM")


def checkpointed(model):
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    model.enable_input_require_grads()
    return model.train()


def micro_batch(case: Case, sequences: int, config) -> dict:
    ids = torch.randint(100, 150_000, (sequences, case.tokens), device="cuda")
    labels = ids.clone()
    labels[:, : case.tokens - case.labelled] = -100
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    if case.image:
        side, vision = IMAGE_PATCHES, config.vision_config
        ids[:, 4] = config.vision_start_token_id
        ids[:, 5 : 5 + IMAGE_TOKENS] = config.image_token_id
        ids[:, 5 + IMAGE_TOKENS] = config.vision_end_token_id
        width = 3 * vision.temporal_patch_size * vision.patch_size**2
        batch["pixel_values"] = torch.randn(sequences * side * side, width, device="cuda", dtype=torch.bfloat16)
        batch["image_grid_thw"] = torch.tensor([[1, side, side]] * sequences, device="cuda")
        batch["mm_token_type_ids"] = (ids == config.image_token_id).int()
    return batch


def step_seconds(model, optimizer, parameters, batches) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    for batch in batches:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = model(**batch, use_cache=False).loss / len(batches)
        loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def train(name: str, checkpointing: bool, pieces, seconds: float) -> None:
    case = CASES[name]
    model = learning(case.model, case.rank, checkpointing)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    for piece in pieces or case.pieces:
        label = f"peer case {name}, checkpointing {'on' if checkpointing else 'off'}, micro-batch {piece}:"
        batches = [micro_batch(case, piece, model.config) for _ in range(case.sequences // piece)]
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        try:
            step_seconds(model, optimizer, parameters, batches)
            times = []
            while not times or sum(times) + times[-1] < seconds:
                times.append(step_seconds(model, optimizer, parameters, batches))
        except torch.OutOfMemoryError:
            optimizer.zero_grad()
            print(label, "out of memory", flush=True)
            continue
        step = statistics.median(times)
        print(
            label,
            f"{case.sequences / step:.2f} samples/s, {case.sequences * case.tokens / step:.0f} tokens/s,",
            f"peak {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB, step {step:.3f} s (median of {len(times)},",
            f"{min(times):.3f} to {max(times):.3f})",
            flush=True,
        )


def decode(seconds: float, context: int = 1024) -> None:
    model = random_model(qwen3_vl_2b).eval()
    prompt = torch.randint(100, 150_000, (1, context), device="cuda")

    def generate(tokens: int) -> float:
        torch.cuda.synchronize()
        start = time.perf_counter()
        model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            pad_token_id=0,
        )
        torch.cuda.synchronize()
        return time.perf_counter() - start

    torch.cuda.reset_peak_memory_stats()
    generate(8)
    first, more, rates = 8, 64, []
    until = time.perf_counter() + seconds
    while not rates or time.perf_counter() < until:
        rates.append(more / (generate(first + more) - generate(first)))
    print(
        f"peer decode, context {context}: {statistics.median(rates):.1f} tokens/s,",
        f"peak {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB (median of {len(rates)})",
        flush=True,
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--case", choices=[*CASES, "decode", "all"], default="all")
    arguments.add_argument("--checkpointing", choices=["on", "off", "both"], default="both")
    arguments.add_argument("--seconds", type=float, default=8, help="of timed steps, for each line")
    arguments.add_argument("--pieces", type=int, nargs="+", help="sequences a micro-batch")
    options = arguments.parse_args()
    settings = {"on": [True], "off": [False], "both": [True, False]}[options.checkpointing]
    torch.backends.cuda.matmul.allow_tf32 = True
    for name in [*CASES, "decode"] if options.case == "all" else [options.case]:
        for checkpointing in settings if name in CASES else []:
            train(name, checkpointing, options.pieces, options.seconds)
            gc.collect()
            torch.cuda.empty_cache()
        if name == "decode":
            decode(options.seconds)


if __name__ == "__main__":
    main()
