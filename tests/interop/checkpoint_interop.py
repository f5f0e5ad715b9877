"""What lamina writes, PEFT and transformers load; what they write, lamina loads: with logits equal.

    python tests/interop/checkpoint_interop.py build/bin/lamina-merge [WORK_DIR]

Makes tiny random models of both families, saves a PEFT adapter for each, merges it with lamina-merge, and compares the
logits of the merged model with those of base + adapter. Needs torch, transformers >= 5, peft >= 0.18. Exit status 0 if
all is well.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (AutoModelForImageTextToText, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration,
                          Qwen3VLConfig, Qwen3VLForConditionalGeneration)

program = sys.argv[1]
work = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.mkdtemp())


def configs(tied):
    text = dict(vocab_size=320, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=128, tie_word_embeddings=tied)
    vision = dict(depth=2, hidden_size=32, intermediate_size=48, num_heads=2, out_hidden_size=64, patch_size=4)
    ids = dict(image_token_id=300, video_token_id=301, vision_start_token_id=302, vision_end_token_id=303)
    rope3 = {"mrope_interleaved": True, "mrope_section": [4, 2, 2], "rope_type": "default"}
    rope2 = {"type": "mrope", "mrope_section": [4, 2, 2]}
    yield "qwen3_vl", Qwen3VLForConditionalGeneration, Qwen3VLConfig(
        text_config=dict(text, head_dim=16, rope_theta=5e6, rope_scaling=rope3),
        vision_config=dict(vision, num_position_embeddings=16, deepstack_visual_indexes=[0]), tie_word_embeddings=tied, **ids)
    yield "qwen2_5_vl", Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLConfig(
        text_config=dict(text, rope_theta=1e6, rope_scaling=rope2),
        vision_config=dict(vision, window_size=16, fullatt_block_indexes=[1]), tie_word_embeddings=tied, **ids)


def logits(model, ids):
    with torch.no_grad():
        return model.float().eval()(input_ids=ids).logits


failures = 0
for tied in (False, True):
    for name, cls, config in configs(tied):
        folder = work / f"{name}-{'tied' if tied else 'untied'}"
        torch.manual_seed(0)
        # fp32 on both sides: what differs is then the merge alone.
        cls(config).float().save_pretrained(folder / "base", max_shard_size="100KB")
        base = cls.from_pretrained(folder / "base", dtype=torch.float32)
        adapted = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM",
                                                  target_modules=["q_proj", "v_proj", "o_proj", "up_proj", "qkv"]))
        with torch.no_grad():
            for key, p in adapted.named_parameters():
                if "lora_B" in key:
                    p.copy_(torch.randn_like(p) * 0.1)
        adapted.save_pretrained(folder / "adapter")
        subprocess.run([program, f"--model_name_or_path={folder / 'base'}", f"--adapter_name_or_path={folder / 'adapter'}",
                        f"--export_dir={folder / 'merged'}", "--infer_dtype=float32", "--export_size=0.0001"], check=True)
        ids = torch.arange(1, 40)[None]
        want = logits(adapted, ids)
        plain = logits(cls.from_pretrained(folder / "base", dtype=torch.float32), ids)
        merged, report = AutoModelForImageTextToText.from_pretrained(folder / "merged", dtype=torch.float32,
                                                                     output_loading_info=True)
        got = logits(merged, ids)
        error = ((got - want).norm() / want.norm()).item()
        moved = ((plain - want).norm() / want.norm()).item()
        unmatched = {k: sorted(v) for k, v in report.items() if v and k in ("missing_keys", "unexpected_keys", "mismatched_keys")}
        ok = error < 1e-5 and moved > 1e-3 and not unmatched
        failures += not ok
        print(f"{'ok  ' if ok else 'FAIL'} {folder.name}: relative error {error:.2e}, adapter moves logits by {moved:.2e}, unmatched {unmatched}")
sys.exit(1 if failures else 0)
