"""Writes tests/golden/checkpoint: small files made by safetensors, transformers and PEFT themselves.

    python tests/reference/checkpoint_golden.py tests/golden/checkpoint

Made with safetensors 0.6+, transformers 5.6.0, peft 0.18.1, torch 2.10 (CPU). Random weights, fixed seeds.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import (AutoConfig, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen3VLConfig,
                          Qwen3VLForConditionalGeneration)

out = Path(sys.argv[1])

ROPE3 = {"mrope_interleaved": True, "mrope_section": [2, 1, 1], "rope_type": "default"}
TINY3 = dict(
    text_config=dict(vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
                     num_key_value_heads=1, head_dim=8, max_position_embeddings=64, rope_theta=5e6, rope_scaling=ROPE3,
                     tie_word_embeddings=True),
    vision_config=dict(depth=2, hidden_size=16, intermediate_size=20, num_heads=2, out_hidden_size=16, patch_size=4,
                       num_position_embeddings=16, deepstack_visual_indexes=[0]),
    image_token_id=35, video_token_id=36, vision_start_token_id=33, vision_end_token_id=34, tie_word_embeddings=True)
TINY2_5 = dict(
    text_config=dict(vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
                     num_key_value_heads=1, max_position_embeddings=64, rope_theta=1e6,
                     rope_scaling={"type": "mrope", "mrope_section": [2, 1, 1]}, tie_word_embeddings=False),
    vision_config=dict(depth=2, hidden_size=16, intermediate_size=20, num_heads=2, out_hidden_size=16, patch_size=4,
                       window_size=16, fullatt_block_indexes=[1], tokens_per_second=2),
    image_token_id=35, video_token_id=36, vision_start_token_id=33, vision_end_token_id=34, tie_word_embeddings=False)


def every_dtype():
    torch.manual_seed(0)
    tensors = {
        "f32": torch.randn(3, 5), "bf16": torch.randn(7).bfloat16(), "f16": torch.randn(2, 2).half(),
        "f64": torch.randn(2).double(), "i64": torch.tensor([-1, 2**40]), "i32": torch.tensor([[1], [-2]]).int(),
        "i16": torch.tensor([5, -5, 7]).short(), "i8": torch.tensor([-128, 127]).char(),
        "u8": torch.tensor([0, 255, 3]).byte(), "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4), "another f32 \u00e9 \"quoted\"": torch.ones(1),
    }
    save_file(tensors, out / "every_dtype.safetensors", metadata={"format": "pt"})


def randomise(model, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape) * 0.3)


def adapt(base, config, seed, where):
    model = get_peft_model(base, config)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                p.copy_(torch.randn(p.shape) * 0.2)
    model.peft_config["default"].base_model_name_or_path = "./tiny"
    # target_modules is a set, whose order differs from run to run: kept as a sorted list here.
    if isinstance(model.peft_config["default"].target_modules, set):
        model.peft_config["default"].target_modules = sorted(model.peft_config["default"].target_modules)
    model.save_pretrained(where)
    (where / "README.md").unlink()


def models():
    # The 2.5 model is saved in shards, to see the library's own index.
    for name, cls, config, shard, lora in [
        ("tiny3", Qwen3VLForConditionalGeneration, Qwen3VLConfig(**TINY3), "5GB",
         LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj", "qkv"], task_type="CAUSAL_LM")),
        ("tiny2_5", Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLConfig(**TINY2_5), "8KB",
         LoraConfig(r=4, lora_alpha=6, lora_dropout=0.05, use_rslora=True, task_type="CAUSAL_LM",
                    target_modules=["q_proj", "k_proj", "o_proj"], modules_to_save=["lm_head"],
                    rank_pattern={"layers.1.self_attn.q_proj": 2}, alpha_pattern={"k_proj": 3, "o_proj": 5})),
    ]:
        model = cls(config)
        randomise(model, 1)
        model = model.bfloat16()
        model.config.dtype = torch.bfloat16
        model.save_pretrained(out / name, max_shard_size=shard)
        # Gaussian noise does not compress, so everything stays tiny instead.
        fp32 = cls.from_pretrained(out / name, dtype=torch.bfloat16)
        adapt(fp32, lora, 2, out / f"{name}_adapter")
        merged = PeftModel.from_pretrained(cls.from_pretrained(out / name, dtype=torch.bfloat16),
                                           out / f"{name}_adapter", autocast_adapter_dtype=True).merge_and_unload()
        merged.save_pretrained(out / f"{name}_merged", max_shard_size="5GB")


def dora():
    cls = Qwen3VLForConditionalGeneration
    base = cls.from_pretrained(out / "tiny3", dtype=torch.bfloat16)
    adapt(base, LoraConfig(r=2, lora_alpha=4, use_dora=True, target_modules=["k_proj"], task_type="CAUSAL_LM"), 3,
          out / "tiny3_dora_adapter")
    merged = PeftModel.from_pretrained(cls.from_pretrained(out / "tiny3", dtype=torch.bfloat16),
                                       out / "tiny3_dora_adapter").merge_and_unload()
    merged.save_pretrained(out / "tiny3_dora_merged")


def layouts():
    """config.json in the layouts of releases, re-saved by this transformers; tests read both and want the same."""
    folder = out / "layouts"
    folder.mkdir(exist_ok=True)
    for released in sorted(folder.glob("*_released.json")):
        work = folder / "work"
        work.mkdir()
        shutil.copy(released, work / "config.json")
        AutoConfig.from_pretrained(work).save_pretrained(work)
        shutil.copy(work / "config.json", folder / released.name.replace("_released", "_resaved_v5"))
        shutil.rmtree(work)


every_dtype()
models()
dora()
layouts()
for folder in out.iterdir():
    if folder.name.endswith("_merged"):
        for extra in folder.glob("*.json"):
            extra.unlink()
print(json.dumps(sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()), indent=1))
