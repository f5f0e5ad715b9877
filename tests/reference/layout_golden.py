"""Names and shapes of every parameter as transformers makes them: tests/golden/model/<model>.layout.

    python tests/reference/layout_golden.py

One line a tensor, "<name> <extent> <extent> ...", sorted, lm_head only where it is not tied. Numbered layers whose
tensors all have the shapes of layer 0's are one line, "...layers.0-27.mlp.up_proj.weight 6144 2048". The hash that
tests/model/layout_test.cpp holds is printed: the sum, modulo 2^64, of the 64-bit FNV-1a of every line, unfolded.
Models live on torch's meta device: nothing is allocated. Configurations: tests/golden/checkpoint/layouts.
"""

import json
import pathlib
import re

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = {"qwen3_vl_2b": "qwen3_vl_2b_resaved_v5", "qwen2_5_vl_3b": "qwen2_5_vl_3b_resaved_v5"}


def fnv1a(text: str) -> int:
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def fold(lines: list[str]) -> list[str]:
    """Runs of layers that differ in their number alone become one line."""
    groups: dict[tuple[str, str], list[int]] = {}
    for line in lines:
        m = re.search(r"(?:layers|blocks|deepstack_merger_list)\.(\d+)\.", line)
        key = (line[: m.start(1)], line[m.end(1) :]) if m else (line, "")
        groups.setdefault(key, []).append(int(m.group(1)) if m else -1)
    out = []
    for (head, tail), numbers in groups.items():
        if numbers == [-1]:
            out.append(head)
            continue
        assert sorted(numbers) == list(range(len(numbers))), (head, tail, numbers)
        out.append(f"{head}0-{len(numbers) - 1}{tail}")
    return sorted(out)


def main() -> None:
    folder = ROOT / "tests/golden/model"
    folder.mkdir(parents=True, exist_ok=True)
    for model, layout in MODELS.items():
        fields = json.loads((ROOT / f"tests/golden/checkpoint/layouts/{layout}.json").read_text())
        config = AutoConfig.for_model(**fields)
        with torch.device("meta"):
            net = AutoModelForImageTextToText.from_config(config)
        lines = sorted(" ".join([name, *map(str, p.shape)]) for name, p in net.named_parameters())
        (folder / f"{model}.layout").write_text("\n".join(fold(lines)) + "\n")
        print(f"{model}: {len(lines)} tensors, hash 0x{sum(map(fnv1a, lines)) % 2**64:016x}")


if __name__ == "__main__":
    main()
