"""How far transformers' bf16 is from its fp32: tests/golden/half_precision/, the yardstick of Lamina's bf16 on a GPU.

    python tests/reference/half_precision.py            writes tests/golden/half_precision/<what>.safetensors
    python tests/reference/half_precision.py --print    writes nothing; prints the distances, also with other attention

Both runs have the same weights: those of the rule (deterministic_weights.py), rounded to bf16, as released checkpoints
are; so a distance is that of the arithmetic alone. Adapters are fp32, by rule. The bf16 run is that of LLaMA-Factory:
bf16 weights, fp32 adapters, bf16 autocast, sdpa. The fp32 run takes pixels and inputs as they are, the bf16 run rounds
them.

The distance of a value is |bf16 - fp32| / |fp32| in the L2 norm over the elements stored; all float32.

    <key>               fp32 values: all of them, or 4096 of a large tensor, elements picked_index(i, size) (parity.py)
    distance.<key>      (1)
    distance.gradients  (1) root mean square of the distances of the adapters' gradients

qwen3_vl_tiny, qwen2_5_vl_tiny: sequences A, B, C of parity.py, rank 4, alpha 8 on the decoder's seven linears

    s.vision.output  s.norm  s.logits           as in parity.py, s.logits at its two rows; no adapters
    gradient.<PEFT's name>                      of (A + B + C) / 3

qwen3_vl_2b: one decoder layer and one vision block of the real size, named as the first of their stack

    decoder.output      (T, D) layer 0 of x = deterministic("pixels.decoder", (96, 2048)), one sequence, positions 0 to 95
    decoder.dx          (T, D) gradient of x where that of the output is dy = deterministic("pixels.dy", (96, 2048))
    gradient.<name>     of the layer's adapters, rank 8, alpha 16, for the same dy
    vision.output       (P, C) block 0 of x = deterministic("pixels.vision", (256, 1024)), an image of 16 x 16 patches in
                        block-major order
"""

import argparse

import deterministic_weights as rule
import numpy as np
import parity
import torch
from peft import LoraConfig, get_peft_model
from safetensors.numpy import save_file
from transformers import AutoModelForImageTextToText, Qwen3VLConfig

PICKS = 4096
SIZES_2B = {
    "text_config": {
        "vocab_size": 64,  # not part of the layer
        "hidden_size": 2048,
        "num_hidden_layers": 1,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 6144,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_section": [24, 20, 20],
            "mrope_interleaved": True,
        },
    },
    "vision_config": {
        "depth": 1,
        "hidden_size": 1024,
        "num_heads": 16,
        "intermediate_size": 4096,
        "patch_size": 16,
        "temporal_patch_size": 2,
        "spatial_merge_size": 2,
        "out_hidden_size": 2048,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": [],
    },
}


def rounded(name: str, shape, dtype) -> torch.Tensor:
    return torch.from_numpy(rule.deterministic(name, shape)).to(torch.bfloat16).to(dtype)


def make_model(config, dtype, attention: str, rank: int = 0):
    """Weights rounded to bf16 and kept as `dtype`; adapters, if any, are fp32."""
    model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32, attn_implementation=attention)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(rounded(name, list(parameter.shape), torch.float32))
    model = model.to(dtype).eval().requires_grad_(False)
    if rank == 0:
        return model
    adapters = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=parity.DECODER, task_type="CAUSAL_LM")
    model = get_peft_model(model, adapters).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.data = torch.from_numpy(rule.deterministic(parity.saved_name(name), list(parameter.shape)))
    return model


def precision(dtype):
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def values(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().float().numpy().reshape(-1, tensor.shape[-1])


def adapter_gradients(model) -> dict:
    named = {parity.saved_name(name): p for name, p in model.named_parameters() if p.requires_grad}
    return {f"gradient.{name}": values(p.grad) for name, p in named.items()}


def tiny_forward(name: str, dtype, attention: str) -> dict:
    model, seen, out = make_model(parity.config_of(name), dtype, attention), {}, {}
    language = model.model.language_model
    language.norm.register_forward_hook(lambda module, args, output: seen.update(norm=output[0]))
    language.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(embeds=kwargs["inputs_embeds"][0]), with_kwargs=True
    )
    for sequence in parity.sequences(name):
        with torch.no_grad(), precision(dtype):
            logits = model(**sequence.inputs(dtype)).logits[0]
        s, count = sequence.name, len(sequence.ids)
        if sequence.grids:
            is_image = torch.tensor(sequence.ids) == sequence.image_token_id
            out[f"{s}.vision.output"] = values(seen["embeds"][is_image])
        out[f"{s}.norm"] = values(seen["norm"])
        out[f"{s}.logits"] = values(logits[[count // 2, count - 1]])
    return out


def tiny_gradients(name: str, dtype, attention: str) -> dict:
    model = make_model(parity.config_of(name), dtype, attention, rank=4)
    for sequence in parity.sequences(name):
        with precision(dtype):
            loss = model(**sequence.inputs(dtype), labels=sequence.target()).loss / 3
        loss.backward()
    return adapter_gradients(model)


def tiny(name: str, dtype, attention: str) -> dict:
    return tiny_forward(name, dtype, attention) | tiny_gradients(name, dtype, attention)


def real_size(dtype, attention: str) -> dict:
    model, seen = make_model(Qwen3VLConfig(**SIZES_2B), dtype, attention, rank=8), {}
    parts, out = model.base_model.model.model, {}
    x = torch.from_numpy(rule.deterministic("pixels.decoder", (96, 2048))).to(dtype)[None].requires_grad_()
    dy = torch.from_numpy(rule.deterministic("pixels.dy", (96, 2048))).to(dtype)[None]
    parts.language_model.layers[0].register_forward_hook(lambda module, args, output: seen.update(output=output))
    with precision(dtype):
        parts.language_model(inputs_embeds=x, use_cache=False)
    y = seen["output"]
    y.backward(dy)
    out |= {"decoder.output": values(y), "decoder.dx": values(x.grad)} | adapter_gradients(model)

    x = torch.from_numpy(rule.deterministic("pixels.vision", (256, 1024))).to(dtype)
    block = parts.visual.blocks[0]
    block.register_forward_pre_hook(lambda module, args, kwargs: ((x, *args[1:]), kwargs), with_kwargs=True)
    block.register_forward_hook(lambda module, args, output: seen.update(block=output))
    with torch.no_grad(), precision(dtype):
        parts.visual(torch.zeros(256, 1536, dtype=dtype), grid_thw=torch.tensor([[1, 16, 16]]))
    return out | {"vision.output": values(seen["block"])}


def picked(value: np.ndarray) -> np.ndarray:
    if value.size <= 4 * PICKS:
        return value
    return value.reshape(-1)[[parity.picked_index(i, value.size) for i in range(PICKS)]]


def distances(single: dict, half: dict) -> dict:
    out = {}
    for key, value in single.items():
        error = half[key].astype(np.float64) - value.astype(np.float64)
        out[key] = np.sqrt((error**2).sum() / (value.astype(np.float64) ** 2).sum())
    gradients = [distance for key, distance in out.items() if key.startswith("gradient.")]
    out["gradients"] = np.sqrt(np.mean(np.square(gradients)))
    return {f"distance.{key}": np.float32([distance]) for key, distance in out.items()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--print", action="store_true", help="print the distances instead of writing")
    options = arguments.parse_args()
    torch.set_num_threads(2)
    runs = {name: lambda *way, name=name: tiny(name, *way) for name in parity.MODELS} | {"qwen3_vl_2b": real_size}
    for name, run in runs.items():
        single = {key: picked(value) for key, value in run(torch.float32, "eager").items()}
        for attention in ("sdpa", "eager") if options.print else ("sdpa",):
            half = {key: picked(value) for key, value in run(torch.bfloat16, attention).items()}
            found = distances(single, half)
            for key, distance in found.items():
                if options.print and not key.startswith("distance.gradient."):
                    print(f"{name} {attention:6} {key:28} {distance[0]:.3e}")
        if options.print:
            continue
        path = parity.ROOT / "tests/golden/half_precision" / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        written_by = {"model": name, "written_by": "tests/reference/half_precision.py"}
        save_file({k: np.ascontiguousarray(v) for k, v in (single | found).items()}, path, metadata=written_by)
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, {len(single | found)} tensors")


if __name__ == "__main__":
    main()
