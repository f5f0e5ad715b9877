"""How far transformers' bf16 is from its fp32: tests/golden/half_precision/, the yardstick of Lamina's bf16 on a GPU.

    python tests/reference/half_precision.py            writes tests/golden/half_precision/<what>.safetensors
    python tests/reference/half_precision.py --print    writes nothing; prints the distances, also with other attention

Both runs have the same weights: those of the rule (deterministic_weights.py), rounded to bf16, as released checkpoints
are; so a distance is that of the arithmetic alone. Adapters are fp32, by rule. The bf16 run is that of LLaMA-Factory:
bf16 weights, fp32 adapters, bf16 autocast, sdpa. The fp32 run takes pixels and inputs as they are, the bf16 run rounds
them.

The distance of a value is |bf16 - fp32| / |fp32| in the L2 norm over the elements stored; all float32.

    <key>               fp32 values: all of them, or of more than 4096 those at picked_index(i, size) (parity.py)
    distance.<key>      (1)
    distance.gradients  (1) root mean square of the distances of the adapters' gradients
    distance.logits     (1) the same of A.logits, B.logits, C.logits

    s.vision.output     (tokens, D) what replaces the placeholders     s is A, B or C: the sequences of parity.py
    s.norm              (N, D) after the final norm
    s.logits            (1, V) of the last token
    gradient.<name>     PEFT's names; of the loss (A + B + C) / 3 with adapters of rank 4, alpha 8 on the seven linears
                        of each decoder layer. The values above are without adapters

Models: qwen3_vl_tiny, qwen2_5_vl_tiny, and qwen3_vl_2b_layer, which has one decoder layer and one vision block of the
sizes of Qwen3-VL-2B, its deepstack map after that block, the tiny model's vocabulary and its sequences.
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
MODELS = [*parity.MODELS, "qwen3_vl_2b_layer"]


def layer_config():
    config = Qwen3VLConfig(**parity.config_of("qwen3_vl_tiny").to_dict())
    text = {
        "hidden_size": 2048,
        "num_hidden_layers": 1,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 6144,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_section": [24, 20, 20],
            "mrope_interleaved": True,
        },
    }
    vision = {
        "depth": 1,
        "hidden_size": 1024,
        "num_heads": 16,
        "intermediate_size": 4096,
        "out_hidden_size": 2048,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": [0],
    }
    for part, sizes in ((config.text_config, text), (config.vision_config, vision)):
        for key, value in sizes.items():
            setattr(part, key, value)
    return config


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


def forward(model, sequences, dtype) -> dict:
    seen, out = {}, {}
    language = model.model.language_model
    language.norm.register_forward_hook(lambda module, args, output: seen.update(norm=output[0]))
    language.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(embeds=kwargs["inputs_embeds"][0]), with_kwargs=True
    )
    for sequence in sequences:
        with torch.no_grad(), precision(dtype):
            logits = model(**sequence.inputs(dtype)).logits[0]
        s = sequence.name
        if sequence.grids:
            is_image = torch.tensor(sequence.ids) == sequence.image_token_id
            out[f"{s}.vision.output"] = values(seen["embeds"][is_image])
        out[f"{s}.norm"], out[f"{s}.logits"] = values(seen["norm"]), values(logits[-1:])
    return out


def gradients(model, sequences, dtype) -> dict:
    for sequence in sequences:
        with precision(dtype):
            loss = model(**sequence.inputs(dtype), labels=sequence.target()).loss / len(sequences)
        loss.backward()
    named = {parity.saved_name(name): p for name, p in model.named_parameters() if p.requires_grad}
    return {f"gradient.{name}": values(p.grad) for name, p in named.items()}


def run(name: str, dtype, attention: str) -> dict:
    config = parity.config_of(name) if name in parity.MODELS else layer_config()
    sequences = parity.sequences(name if name in parity.MODELS else "qwen3_vl_tiny")
    out = forward(make_model(config, dtype, attention), sequences, dtype)
    out |= gradients(make_model(config, dtype, attention, rank=4), sequences, dtype)
    return {key: picked(value) for key, value in out.items()}


def picked(value: np.ndarray) -> np.ndarray:
    if value.size <= PICKS:
        return value
    return value.reshape(-1)[[parity.picked_index(i, value.size) for i in range(PICKS)]]


def distances(single: dict, half: dict) -> dict:
    out = {}
    for key, value in single.items():
        error = half[key].astype(np.float64) - value.astype(np.float64)
        out[key] = np.sqrt((error**2).sum() / (value.astype(np.float64) ** 2).sum())
    for name, of in (("gradients", lambda key: key.startswith("gradient.")), ("logits", lambda key: "logits" in key)):
        out[name] = np.sqrt(np.mean(np.square([distance for key, distance in out.items() if of(key)])))
    return {f"distance.{key}": np.float32([distance]) for key, distance in out.items()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--print", action="store_true", help="print the distances instead of writing")
    options = arguments.parse_args()
    torch.set_num_threads(2)
    for name in MODELS:
        single = run(name, torch.float32, "eager")
        for attention in ("sdpa", "eager") if options.print else ("sdpa",):
            half = run(name, torch.bfloat16, attention)
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
