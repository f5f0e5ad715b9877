"""Asks a model about the pictures of a dataset with transformers and counts the answers that are right to the letter.

    python examples/nano/score.py saves/quickstart/merged data/tables/tables_heldout.json
    python examples/nano/score.py MODEL LIST --limit 200 --out generated_predictions.jsonl

Greedy, fp32, on the CPU. LIST holds records as lamina-train reads them, its pictures lie below LIST's dataset folder.
Needs torch, torchvision and transformers; it is the yardstick for lamina-train's do_predict, not part of the recipe.
"""

import argparse
import json
import pathlib

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor


def read_records(path: pathlib.Path) -> list[dict]:
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines()]


def answer(model, processor, picture: Image.Image, question: str, most_tokens: int) -> str:
    message = {"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": question}]}
    inputs = processor.apply_chat_template(
        [message], tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    with torch.inference_mode():
        tokens = model.generate(**inputs, max_new_tokens=most_tokens, do_sample=False)
    return processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("list", type=pathlib.Path)
    parser.add_argument("--limit", type=int, help="only the first LIMIT records")
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--out", type=pathlib.Path, help="writes what was answered, as LLaMA-Factory does")
    options = parser.parse_args()
    processor = AutoProcessor.from_pretrained(options.model)
    model = AutoModelForImageTextToText.from_pretrained(options.model, dtype=torch.float32).eval()
    records = read_records(options.list)[: options.limit]
    right, lines = 0, []
    for record in records:
        question, label = (turn["content"].replace("<image>", "") for turn in record["messages"][-2:])
        with Image.open(options.list.parent.parent / record["images"][0]) as picture:
            predict = answer(model, processor, picture.convert("RGB"), question, options.max_new_tokens)
        right += predict == label
        lines.append(json.dumps({"prompt": question, "predict": predict, "label": label}, ensure_ascii=False))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{right} of {len(records)} answers are right to the letter: {100 * right / len(records):.1f} %")


if __name__ == "__main__":
    main()
