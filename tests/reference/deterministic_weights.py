"""Weights by rule: the twin of include/lamina/testing/deterministic_weights.hpp, which states the rule.

    python tests/reference/deterministic_weights.py      writes tests/golden/testing/deterministic_weights.json
"""

import json
import pathlib

import numpy as np

GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
CASES = [
    ("model.language_model.embed_tokens.weight", [4096, 256]),
    ("model.language_model.layers.0.mlp.up_proj.weight", [768, 256]),
    ("model.language_model.layers.3.input_layernorm.weight", [256]),
    ("model.language_model.layers.1.self_attn.q_proj.bias", [256]),
    ("model.visual.patch_embed.proj.weight", [256, 3, 2, 16, 16]),
    ("model.visual.blocks.2.mlp.down_proj.weight", [160, 340]),
    ("model.visual.pos_embed.weight", [256, 256]),
    ("base_model.model.model.language_model.layers.2.self_attn.v_proj.lora_A.weight", [4, 256]),
    ("base_model.model.model.language_model.layers.2.self_attn.v_proj.lora_B.weight", [256, 4]),
    ("pixels.0", [48, 1536]),
]


def fnv1a64(text: str | bytes) -> int:
    h = 0xCBF29CE484222325
    for byte in text.encode() if isinstance(text, str) else text:
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def unit(name: str, count: int) -> np.ndarray:
    """The first `count` elements of the name's stream, uniform in [-0.5, 0.5), float32."""
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a64(name)) + np.arange(count, dtype=np.uint64) * GOLDEN_RATIO + GOLDEN_RATIO
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(40)).astype(np.int32) - np.int32(1 << 23)).astype(np.float32) * np.float32(2.0**-24)


def spread(name: str, shape) -> tuple[np.float32, np.float32]:
    """(offset, scale) of the tensor's kind."""
    zero = np.float32(0)
    if name.startswith("pixel"):
        return zero, np.float32(2)
    if name.endswith(".bias"):
        return zero, np.float32(0.2)
    if name.endswith(".lora_B.weight"):
        return zero, np.float32(0.1)
    if name.endswith(("embed_tokens.weight", "lm_head.weight", "pos_embed.weight")):
        return zero, np.float32(0.5)
    if len(shape) < 2:
        return np.float32(1), np.float32(0.5)
    fan_in = np.float32(int(np.prod(shape[1:])))
    return zero, np.float32(3.4641016) / np.sqrt(fan_in)


def deterministic(name: str, shape) -> np.ndarray:
    offset, scale = spread(name, shape)
    return (offset + scale * unit(name, int(np.prod(shape)))).astype(np.float32).reshape(shape)


def load_into(model, names=lambda name: name) -> None:
    """Overwrites every parameter of a torch module; names() maps its parameter names to canonical ones."""
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(deterministic(names(name), list(parameter.shape))))


def main() -> None:
    golden = []
    for name, shape in CASES:
        values = deterministic(name, shape).reshape(-1)
        picks = sorted({0, 1, 2, 3, 255, values.size // 2, values.size - 1} & set(range(values.size)))
        golden.append(
            {"name": name, "shape": shape, "index": picks, "bits": [int(values[i : i + 1].view(np.uint32)[0]) for i in picks],
             "value": [float(values[i]) for i in picks],
             "xor_of_bits": int(np.bitwise_xor.reduce(values.view(np.uint32)))}
        )
    path = pathlib.Path(__file__).resolve().parents[1] / "golden/testing/deterministic_weights.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(json.dumps(case) for case in golden) + "\n]\n")


if __name__ == "__main__":
    main()
