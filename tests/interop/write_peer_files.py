"""python tests/interop/write_peer_files.py OUT

What the other side writes, for us to read. OUT/<model>/ gets base/ and merged/ (transformers save_pretrained, beside tokenizer and
processor files), adapter/ (PEFT save_pretrained), base.json, adapter.json and merged.json (logits, see prompt.py)."""

import contextlib
import io
import pathlib
import sys

import torch
from prompt import ROOT, parity, show
from transformers import AutoProcessor


def write_logits(path: pathlib.Path, model, origin: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as text:
        show(model, origin)
    path.write_text(text.getvalue())


def main(out: pathlib.Path) -> None:
    for name in parity.MODELS:
        target = out / name
        processor = AutoProcessor.from_pretrained(ROOT / "data" / name)
        base = parity.base_model(name, torch.float32)
        base.save_pretrained(target / "base")
        write_logits(target / "base.json", base, "base")
        adapted = parity.lora_model(name, "all", torch.float32)
        adapted.save_pretrained(target / "adapter")
        write_logits(target / "adapter.json", adapted, "adapter")
        merged = adapted.merge_and_unload()
        merged.save_pretrained(target / "merged", max_shard_size="20MB")
        write_logits(target / "merged.json", merged, "merged")
        for folder in ("base", "merged"):
            processor.save_pretrained(target / folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(pathlib.Path(sys.argv[1]))
