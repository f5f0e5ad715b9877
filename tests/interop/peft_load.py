"""python tests/interop/peft_load.py ADAPTER_DIR BASE_DIR > logits.json

Loads an adapter that lamina-train wrote into its base model with PEFT; fails if a tensor is missing or unknown."""

import sys
import warnings

from peft import PeftConfig, get_peft_model, load_peft_weights, set_peft_model_state_dict
from prompt import load_model, show


def main(adapter_dir: str, base_dir: str) -> None:
    model = get_peft_model(load_model(base_dir), PeftConfig.from_pretrained(adapter_dir))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = set_peft_model_state_dict(model, load_peft_weights(adapter_dir, device="cpu"))
    missing = [key for key in report.missing_keys if "lora_" in key]
    if missing or report.unexpected_keys:
        raise SystemExit(f"{adapter_dir}: missing {missing}, unexpected {report.unexpected_keys}")
    show(model, adapter_dir)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
