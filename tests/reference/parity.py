"""What transformers and peft compute for the tiny models, fp32 on CPU with eager attention: tests/golden/parity/.

    python tests/reference/parity.py            writes tests/golden/parity/<model>.safetensors
    python tests/reference/parity.py --noise    writes nothing; prints how far fp32 is from float64, item by item

Weights are made by rule (deterministic_weights.py), so are adapters (PEFT's saved names) and pixels. Three sequences,
run one by one, never padded:

    A   one image, then text        B   text alone        C   two images among text

Layout; N tokens, P patches, all float32 unless said. s is A, B or C; <name> is the checkpoint's own:

    s.ids  s.labels                       int32 (N); labels as Hugging Face has them, -100 = no loss
    s.grids                               int32 (images, 3): t, h, w in patches. Pixels are
                                          deterministic("pixels.<s>", (P, patch))
    s.positions                           int32 (3, N): t, h, w
    s.vision.block.<i>                    (P, C) output of vision block i; for Qwen2.5 in window order. s = A only
    s.vision.output                       (tokens, D) what replaces the placeholders, in their order (s = A, C)
    s.vision.deepstack.<k>                (tokens, D) Qwen3: added after decoder layer k (s = A, C)
    s.decoder.<i>                         (N, D) output of decoder layer i before deepstack k = i is added
    s.norm                                (N, D) after the final norm
    s.logits.rows                         int32 (R) token rows of s.logits (R, V)
    s.logits.columns                      int32 (64) columns of s.logits.picked (N, 64)
    s.loss                                (1) mean over the labelled tokens of s
    lora.<run>.loss                       (3) losses of A, B, C with adapters; run: decoder, all
    lora.<run>.grad.<name>                gradients of (A + B + C) / 3, PEFT's names; run all: adapters of the vision
                                          tower in full, those of the decoder as picks (below)
    full.grad.<name>                      (65) picks: the L2 norm, then elements picked_index(k, size), k = 0..63
    steps.<run>.loss  .grad_norm          (10) runs lora and full: step k sees micro-batches 2k and 2k + 1 of
                                          A B C A B C ...; loss = mean of the two means; grad_norm before clipping
    aux.loss  aux.grad.<name>             mixtures of experts: as full, with transformers' loss of the routers, times AUX;
                                          gradients of routers in full, of the others outside of experts as picks
    aux.padded                            (1) that loss alone, of A, B and C as one padded batch with its mask
    steps.aux.loss  .grad_norm            as full, with it
    generate.<text|image>.prompt .tokens .margin   int32, int32 (64), (64): greedy, margin = top logit less the second;
                                          image: the image of A, other text

Runs: rank 4, alpha 8. decoder: q k v o gate up down of every decoder layer. all: those, and every linear of the vision
blocks and (Qwen3) of the mergers. Steps: AdamW, lr 1e-3 (full: 1e-4), betas 0.9 0.999, eps 1e-8, no weight decay,
gradient norm clipped to 1.
"""

import argparse
import json
import pathlib
import re

import deterministic_weights as rule
import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.numpy import save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    Qwen3Config,
    Qwen3MoeConfig,
    Qwen3VLMoeConfig,
)

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ["qwen3_vl_tiny", "qwen2_5_vl_tiny", "qwen3_tiny", "qwen3_window_tiny", "qwen3_moe_tiny", "qwen3_vl_moe_tiny"]


def text_config(**more):
    return Qwen3Config(
        vocab_size=4096,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=128,
        intermediate_size=768,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
        tie_word_embeddings=True,
        **more,
    )


# Sizes without a folder in data/.
CONFIGS = {
    "qwen3_tiny": text_config(),
    # Full attention in the first two layers, windows of eight tokens in the others.
    "qwen3_window_tiny": text_config(use_sliding_window=True, sliding_window=8, max_window_layers=2),
    "qwen3_moe_tiny": Qwen3MoeConfig(
        vocab_size=512,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        num_experts=8,
        num_experts_per_tok=3,
        moe_intermediate_size=48,
        norm_topk_prob=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
        tie_word_embeddings=True,
    ),
    "qwen3_vl_moe_tiny": Qwen3VLMoeConfig(
        text_config=dict(
            vocab_size=512,
            hidden_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            num_experts=8,
            num_experts_per_tok=3,
            moe_intermediate_size=48,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 5000000.0,
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
            },
            tie_word_embeddings=True,
        ),
        vision_config=dict(
            depth=3,
            hidden_size=32,
            intermediate_size=64,
            num_heads=2,
            out_hidden_size=64,
            num_position_embeddings=64,
            deepstack_visual_indexes=[0, 1, 2],
        ),
        image_token_id=508,
        video_token_id=509,
        vision_start_token_id=510,
        vision_end_token_id=511,
        tie_word_embeddings=True,
    ),
}
ORDINARY_IDS = 4070  # ids below are bytes and merges, not added tokens
GRIDS = {
    "qwen3_vl_tiny": {"A": [(1, 6, 8)], "B": [], "C": [(1, 2, 4), (1, 4, 6)]},
    "qwen2_5_vl_tiny": {"A": [(1, 12, 10)], "B": [], "C": [(1, 8, 8), (1, 4, 6)]},
    "qwen3_tiny": {"A": [], "B": [], "C": []},
    "qwen3_window_tiny": {"A": [], "B": [], "C": []},
    "qwen3_moe_tiny": {"A": [], "B": [], "C": []},
    "qwen3_vl_moe_tiny": {"A": [(1, 6, 8)], "B": [], "C": [(1, 2, 4), (1, 4, 6)]},
}
DECODER = r"(?!.*visual).*layers\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
VISION = {
    "qwen3_vl_tiny": r".*visual\.(?!patch_embed).*\.(qkv|proj|linear_fc1|linear_fc2)",
    "qwen2_5_vl_tiny": r".*visual\.blocks\..*\.(qkv|proj|gate_proj|up_proj|down_proj)",
}
# Prompts whose greedy answers vary most among 60 tried, no choice being close.
PROMPTS = {
    "qwen3_vl_tiny": {"text": "text.3", "image": "image.50"},
    "qwen2_5_vl_tiny": {"text": "text.38", "image": "image.33"},
    "qwen3_tiny": {"text": "text.3"},
    "qwen3_window_tiny": {"text": "text.3"},
    "qwen3_moe_tiny": {"text": "text.3"},
    "qwen3_vl_moe_tiny": {"text": "text.3", "image": "image.50"},
}
LEARNING_RATE = {"lora": 1e-3, "full": 1e-4, "aux": 1e-4}
AUX = 0.1  # router_aux_loss_coef


def picked_index(k, size):
    return (k * 0x9E3779B1) % size


def made_up_ids(name: str, count: int, ids: int) -> list[int]:
    return [int((float(u) + 0.5) * ids) for u in rule.unit("ids." + name, count)]


def ordinary_ids(config) -> int:
    """Of a small vocabulary, those below the image tokens."""
    return min(getattr(config, "text_config", config).vocab_size, getattr(config, "image_token_id", None) or ORDINARY_IDS)


class Sequence:
    """Text, images among it, labels on the tail."""

    def __init__(self, config, name: str, grids, lengths, labelled: int, text: str = ""):
        self.name, self.grids = name, grids
        text = made_up_ids(text or name, sum(lengths), min(ORDINARY_IDS, ordinary_ids(config)))
        self.ids = []
        for i, length in enumerate(lengths):
            self.ids += text[:length]
            text = text[length:]
            if i < len(grids):
                t, h, w = grids[i]
                pads = [config.image_token_id] * (t * h * w // 4)
                self.ids += [config.vision_start_token_id, *pads, config.vision_end_token_id]
        self.labels = [-100] * (len(self.ids) - labelled) + self.ids[len(self.ids) - labelled :]
        if grids:
            vision = config.vision_config
            self.patch = 3 * vision.temporal_patch_size * vision.patch_size**2
            self.image_token_id = config.image_token_id

    def pixels(self) -> np.ndarray:
        patches = sum(t * h * w for t, h, w in self.grids)
        return rule.deterministic("pixels." + self.name, (patches, self.patch))

    def inputs(self, dtype, ids=None) -> dict:
        ids = torch.tensor([self.ids if ids is None else ids])
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if self.grids:
            inputs["pixel_values"] = torch.from_numpy(self.pixels()).to(dtype)
            inputs["image_grid_thw"] = torch.tensor(self.grids)
            inputs["mm_token_type_ids"] = (ids == self.image_token_id).int()
        return inputs

    def target(self) -> torch.Tensor:
        return torch.tensor([self.labels])


def config_of(name: str):
    return CONFIGS.get(name) or AutoConfig.from_pretrained(ROOT / "data" / name)


def sequences(name: str) -> list[Sequence]:
    config, grids = config_of(name), GRIDS[name]
    return [
        Sequence(config, "A", grids["A"], [5, 14], 9),
        Sequence(config, "B", grids["B"], [21], 13),
        Sequence(config, "C", grids["C"], [4, 6, 9], 5),
    ]


def base_model(name: str, dtype):
    kind = AutoModelForImageTextToText if "_vl_" in name else AutoModelForCausalLM
    model = kind.from_config(config_of(name), dtype=torch.float32, attn_implementation="eager")
    rule.load_into(model)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            for part, rows in expert_parts(key, parameter):
                rows.copy_(torch.from_numpy(rule.deterministic(part, list(rows.shape))))
    return model.to(dtype).eval()


def expert_parts(name: str, tensor):
    """The experts' matrices in one tensor of transformers 5, by their names in a checkpoint."""
    prefix = name.rpartition(".")[0]
    for e in range(len(tensor) if ".experts." in name else 0):
        if name.endswith("gate_up_proj"):
            gate, up = tensor[e].chunk(2) if torch.is_tensor(tensor) else np.split(tensor[e], 2)
            yield f"{prefix}.{e}.gate_proj.weight", gate
            yield f"{prefix}.{e}.up_proj.weight", up
        else:
            yield f"{prefix}.{e}.down_proj.weight", tensor[e]


def saved_name(name: str) -> str:
    return name.replace(".default.", ".")


def lora_model(name: str, run: str, dtype):
    target = DECODER if run == "decoder" or name not in VISION else f"(?:{DECODER})|(?:{VISION[name]})"
    model = get_peft_model(
        base_model(name, torch.float32), LoraConfig(r=4, lora_alpha=8, target_modules=target, task_type="CAUSAL_LM")
    )
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.from_numpy(rule.deterministic(saved_name(key), list(parameter.shape))))
    return model.to(dtype).eval()


def loss_of(model, sequence: Sequence, dtype) -> torch.Tensor:
    """Mean over labelled tokens, as transformers' own loss function has it, but in the model's precision."""
    logits = model(**sequence.inputs(dtype)).logits[0, :-1]
    return torch.nn.functional.cross_entropy(logits, sequence.target()[0, 1:], ignore_index=-100)


def balanced_loss(model, sequence: Sequence, dtype) -> torch.Tensor:
    """The same with the loss of the routers, as transformers adds it."""
    model.config.get_text_config().router_aux_loss_coef = model.router_aux_loss_coef = AUX
    return model(**sequence.inputs(dtype), labels=sequence.target(), output_router_logits=True).loss


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def picks(gradient: np.ndarray) -> np.ndarray:
    flat = gradient.reshape(-1)
    return np.concatenate(
        [[np.sqrt((flat.astype(np.float64) ** 2).sum())], flat[[picked_index(k, flat.size) for k in range(64)]]]
    )


def forward_golden(name: str, dtype) -> dict:
    model, out = base_model(name, dtype), {}
    seen = {}

    def keep(key):
        def hook(module, args, kwargs, output):
            seen[key] = output[0] if isinstance(output, tuple) else output

        return hook

    visual = getattr(model.model, "visual", None)
    language = model.model.language_model if visual else model.model
    for i, layer in enumerate(language.layers):
        layer.register_forward_hook(keep(f"decoder.{i}"), with_kwargs=True)
    language.norm.register_forward_hook(keep("norm"), with_kwargs=True)
    for i, block in enumerate(visual.blocks if visual else []):
        block.register_forward_hook(keep(f"vision.block.{i}"), with_kwargs=True)
    for k, merger in enumerate(getattr(visual, "deepstack_merger_list", [])):
        merger.register_forward_hook(keep(f"vision.deepstack.{k}"), with_kwargs=True)
    language.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(
            positions=kwargs["position_ids"] if visual else None, embeds=kwargs["inputs_embeds"]
        ),
        with_kwargs=True,
    )

    for sequence in sequences(name):
        seen.clear()
        s = sequence.name
        ids = torch.tensor(sequence.ids)
        with torch.no_grad():
            logits = model(**sequence.inputs(dtype)).logits[0]
        positions = seen.pop("positions")
        if positions is None:  # text alone: the decoder counts by itself, the same on all three axes
            positions = torch.arange(len(ids)).expand(3, 1, -1)
        embeds = seen.pop("embeds")
        out[f"{s}.ids"], out[f"{s}.labels"] = np.int32(sequence.ids), np.int32(sequence.labels)
        out[f"{s}.grids"] = np.int32(sequence.grids).reshape(-1, 3)
        out[f"{s}.positions"] = np.int32(positions[-3:, 0])
        if sequence.grids:
            out[f"{s}.vision.output"] = array(embeds[0][ids == sequence.image_token_id])
        for key, value in seen.items():
            if key.startswith("vision.block") and s != "A":
                continue
            out[f"{s}.{key}"] = array(value).reshape(-1, value.shape[-1])
        rows = [len(ids) // 2, len(ids) - 1]
        columns = [picked_index(k, logits.shape[-1]) for k in range(64)]
        out[f"{s}.logits.rows"], out[f"{s}.logits"] = np.int32(rows), array(logits[rows])
        out[f"{s}.logits.columns"], out[f"{s}.logits.picked"] = np.int32(columns), array(logits[:, columns])
        with torch.no_grad():
            out[f"{s}.loss"] = array(loss_of(model, sequence, dtype)).reshape(1)
    return out


def check_loss_function(name: str) -> None:
    """loss_of is what transformers returns for labels=."""
    model = base_model(name, torch.float32)
    for sequence in sequences(name):
        with torch.no_grad():
            theirs = model(**sequence.inputs(torch.float32), labels=sequence.target()).loss
            torch.testing.assert_close(loss_of(model, sequence, torch.float32), theirs, rtol=1e-6, atol=0)


def gradients(model, name: str, dtype):
    losses = []
    for sequence in sequences(name):
        loss = loss_of(model, sequence, dtype)
        (loss / 3).backward()
        losses.append(float(loss.detach()))
    return np.array(losses), {key: array(p.grad) for key, p in model.named_parameters() if p.requires_grad}


def gradient_golden(name: str, dtype) -> dict:
    out = {}
    for run in ("decoder", "all") if name in VISION else ("decoder",):
        losses, grads = gradients(lora_model(name, run, dtype), name, dtype)
        out[f"lora.{run}.loss"] = losses
        for key, value in grads.items():
            whole = run == "decoder" or ".visual." in key
            out[f"lora.{run}.grad.{saved_name(key)}"] = value if whole else picks(value)
    losses, grads = gradients(base_model(name, dtype), name, dtype)
    for key, value in grads.items():
        for part, rows in list(expert_parts(key, value)) or [(key, value)]:
            out[f"full.grad.{part}"] = picks(rows)
    return out


def balance_golden(name: str, dtype) -> dict:
    if "_moe_" not in name:
        return {}
    model, out, losses = base_model(name, dtype), {}, []
    for sequence in sequences(name):
        loss = balanced_loss(model, sequence, dtype)
        (loss / 3).backward()
        losses.append(float(loss.detach()))
    out["aux.loss"] = np.array(losses)
    for key, parameter in model.named_parameters():
        if ".experts." not in key:
            gradient = array(parameter.grad)
            out[f"aux.grad.{key}"] = gradient if ".gate." in key else picks(gradient)
    if "_vl_" not in name:
        ids = [torch.tensor(s.ids) for s in sequences(name)]
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(i) for i in ids], batch_first=True)
        with torch.no_grad():
            answer = model(input_ids=padded, attention_mask=mask, output_router_logits=True)
        out["aux.padded"] = array(answer.aux_loss).reshape(1)
    return out


def step_golden(name: str, dtype, rates=LEARNING_RATE) -> dict:
    out = {}
    for run in ("lora", "full", "aux") if "_moe_" in name else ("lora", "full"):
        loss_in = balanced_loss if run == "aux" else loss_of
        model = lora_model(name, "decoder", dtype) if run == "lora" else base_model(name, dtype)
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=rates[run], betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
        losses, norms, micro, order = [], [], 0, sequences(name)
        for _ in range(10):
            total = 0.0
            for _ in range(2):
                loss = loss_in(model, order[micro % 3], dtype) / 2
                loss.backward()
                total, micro = total + float(loss.detach()), micro + 1
            norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, 1.0)))
            optimizer.step()
            optimizer.zero_grad()
            losses.append(total)
        out[f"steps.{run}.loss"], out[f"steps.{run}.grad_norm"] = np.array(losses), np.array(norms)
    return out


def generate_golden(name: str, dtype) -> dict:
    model, out = base_model(name, dtype), {}
    for kind, text in PROMPTS[name].items():
        grids, lengths = (GRIDS[name]["A"], [5, 14]) if kind == "image" else ([], [21])
        sequence = Sequence(config_of(name), "A", grids, lengths, 1, text)
        answer = model.generate(
            **sequence.inputs(dtype),
            do_sample=False,
            max_new_tokens=64,
            min_new_tokens=64,
            repetition_penalty=1.0,
            temperature=None,
            top_p=None,
            top_k=None,
            eos_token_id=None,
            pad_token_id=0,
            use_cache=True,
            output_logits=True,
            return_dict_in_generate=True,
        )
        tokens = answer.sequences[0, len(sequence.ids) :]
        top = torch.stack(answer.logits)[:, 0].topk(2).values
        margin = array(top[:, 0] - top[:, 1])
        print(f"{name} {kind}: {len(set(tokens.tolist()))} different tokens, least margin {margin.min():.4f}")
        if margin.min() <= 1e-3:
            raise SystemExit("a greedy choice is too close to call: change the prompt")
        key = f"generate.{kind}"
        out[f"{key}.prompt"], out[f"{key}.tokens"], out[f"{key}.margin"] = (
            np.int32(sequence.ids),
            np.int32(tokens),
            margin,
        )
    return out


def golden(name: str, dtype) -> dict:
    parts = (forward_golden, gradient_golden, balance_golden, step_golden, generate_golden)
    return {key: value for part in parts for key, value in part(name, dtype).items()}


def as_stored(tensors: dict) -> dict:
    return {
        key: np.ascontiguousarray(value if value.dtype == np.int32 else value.astype(np.float32))
        for key, value in tensors.items()
    }


def print_noise(single: dict, double: dict) -> None:
    worst: dict[str, float] = {}
    for key, value in single.items():
        if value.dtype == np.int32:
            assert (value == double[key]).all(), key
            continue
        kind = re.sub(r"grad\..*", "grad", key)
        error = np.abs(value - double[key])
        whole = np.sqrt((error.astype(np.float64) ** 2).sum()) / max(np.sqrt((double[key] ** 2).sum()), 1e-30)
        worst[kind] = max(worst.get(kind, 0.0), whole)
        if key.startswith("steps"):
            print(f"  {key}: {np.array2string(error / np.abs(double[key]), precision=1)}")
    for kind, value in worst.items():
        print(f"  {kind:32} {value:.2e}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--noise", action="store_true", help="compare fp32 with float64 instead of writing")
    options = arguments.parse_args()
    torch.set_num_threads(2)
    for name in MODELS:
        check_loss_function(name)
        tensors = golden(name, torch.float32)
        if options.noise:
            print_noise(tensors, golden(name, torch.float64))
            continue
        path = ROOT / "tests/golden/parity" / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(as_stored(tensors), path, metadata={"model": name, "written_by": "tests/reference/parity.py"})
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, {len(tensors)} tensors")


if __name__ == "__main__":
    main()
