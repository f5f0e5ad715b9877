"""How many parameters LLaMA-Factory trains: tests/golden/llamafactory/trainable_counts.json.

    python tests/reference/trainable_counts.py

For both tiny models, every combination of the three freeze flags with finetuning_type full, freeze (four values of
freeze_trainable_layers) and lora (three targets): the number of trainable parameters, as LLaMA-Factory's own
init_adapter leaves it. 0 or an exception there is written as 0.
"""

import itertools
import json
import os
import pathlib

os.environ.setdefault("DISABLE_VERSION_CHECK", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from llamafactory_run import stand_in_for_torchaudio

stand_in_for_torchaudio()

import torch
import transformers
from llamafactory.hparams import FinetuningArguments, ModelArguments
from llamafactory.model.adapter import init_adapter

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = ("freeze_vision_tower", "freeze_multi_modal_projector", "freeze_language_model")
METHODS = [
    {"finetuning_type": "full"},
    *({"finetuning_type": "freeze", "freeze_trainable_layers": n} for n in (2, -1, 1, 9)),
    *({"finetuning_type": "lora", "lora_target": t} for t in ("all", "q_proj,v_proj")),
]


def trainable(folder: pathlib.Path, settings: dict) -> int:
    config = transformers.AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = transformers.AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    model.tie_weights()
    try:
        model = init_adapter(
            config, model, ModelArguments(model_name_or_path=str(folder)), FinetuningArguments(**settings), True
        )
    except ValueError:  # PEFT: no module is left to adapt
        return 0
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def main() -> None:
    rows = []
    for name in ("qwen3_vl_tiny", "qwen2_5_vl_tiny"):
        for method in METHODS:
            for values in itertools.product((True, False), repeat=3):
                settings = method | dict(zip(FLAGS, values))
                rows.append({"model": name} | settings | {"trainable": trainable(ROOT / "data" / name, settings)})
    path = ROOT / "tests/golden/llamafactory/trainable_counts.json"
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


if __name__ == "__main__":
    main()
