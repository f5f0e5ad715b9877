"""What the scripts of this folder share: one prompt, and the logits of its last token as JSON."""

import json
import pathlib
import sys

import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/reference"))
import parity  # noqa: E402


def prompt(config) -> parity.Sequence:
    """Sequence A of tests/golden/parity/: one image and text, ids and pixels by rule."""
    name = f"{config.model_type}_tiny"
    if name not in parity.GRIDS:
        raise SystemExit(f"{config.model_type}: the prompt is made for {', '.join(parity.GRIDS)}")
    return parity.Sequence(config, "A", parity.GRIDS[name]["A"], [5, 14], 9)


def logits(model) -> list[float]:
    config = getattr(model, "config", None) or model.base_model.model.config
    sequence = prompt(config)
    with torch.no_grad():
        return model.eval()(**sequence.inputs(torch.float32)).logits[0, -1].double().tolist()


def show(model, origin: str) -> None:
    row = logits(model)
    json.dump({"model": origin, "argmax": max(range(len(row)), key=row.__getitem__), "logits": row}, sys.stdout)
    print()


def load_model(directory):
    """A model directory by transformers, in fp32; every tensor of the file must be used and none may be missing."""
    from transformers import AutoModelForImageTextToText

    model, report = AutoModelForImageTextToText.from_pretrained(directory, dtype=torch.float32, output_loading_info=True)
    wrong = {kind: sorted(report[kind]) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") if report[kind]}
    if wrong:
        raise SystemExit(f"{directory}: {wrong}")
    return model
