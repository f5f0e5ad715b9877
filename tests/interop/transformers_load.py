"""python tests/interop/transformers_load.py MODEL_DIR > logits.json

Loads a model directory that lamina-merge or lamina-train wrote: weights, tokenizer, processor and generation settings."""

import sys

from prompt import load_model, show
from transformers import AutoProcessor, GenerationConfig


def main(directory: str) -> None:
    processor = AutoProcessor.from_pretrained(directory)
    GenerationConfig.from_pretrained(directory)
    text = processor.apply_chat_template([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Hi"}]}], add_generation_prompt=True)
    model = load_model(directory)
    if processor.tokenizer(text)["input_ids"].count(model.config.image_token_id) != 1:
        raise SystemExit(f"{directory}: the chat template does not place one image token: {text!r}")
    show(model, directory)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
