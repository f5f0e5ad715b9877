"""Asks a model about the images of a dataset and counts the answers that are right to the letter.

    python examples/nano/score.py saves/quickstart/merged data/tables/tables_heldout.json     with transformers
    python examples/nano/score.py http://127.0.0.1:8000 data/tables/tables_heldout.json       a server, as clients ask it
    ... --limit 200 --out generated_predictions.jsonl

Greedy; transformers in fp32 on the CPU, a server through the official OpenAI client. The list holds records as
lamina-train reads them, its images lie below the list's dataset folder. Needs torch, torchvision and transformers, or
openai; it is the yardstick for lamina-train's do_predict, not part of the recipe.
"""

import argparse
import base64
import json
import pathlib
from collections.abc import Callable

Ask = Callable[[pathlib.Path, str, int], str]  # an image file, a question, at most so many tokens: the answer


def transformers_model(directory: str) -> Ask:
    import torch
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(directory)
    model = AutoModelForImageTextToText.from_pretrained(directory, dtype=torch.float32).eval()

    def ask(path: pathlib.Path, question: str, most_tokens: int) -> str:
        with Image.open(path) as image:
            content = [{"type": "image", "image": image.convert("RGB")}, {"type": "text", "text": question}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            tokens = model.generate(**inputs, max_new_tokens=most_tokens, do_sample=False)
        return processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    return ask


def server(url: str) -> Ask:
    from openai import OpenAI

    client = OpenAI(base_url=url.rstrip("/") + "/v1", api_key="none")
    model = client.models.list().data[0].id

    def ask(path: pathlib.Path, question: str, most_tokens: int) -> str:
        kind = "png" if path.suffix == ".png" else "jpeg"
        image = f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
        content = [{"type": "image_url", "image_url": {"url": image}}, {"type": "text", "text": question}]
        answer = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": content}], temperature=0, max_tokens=most_tokens
        )
        return answer.choices[0].message.content

    return ask


def read_records(path: pathlib.Path) -> list[dict]:
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model's directory or a server's address")
    parser.add_argument("list", type=pathlib.Path)
    parser.add_argument("--limit", type=int, help="only the first LIMIT records")
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--out", type=pathlib.Path, help="writes what was answered, as LLaMA-Factory does")
    options = parser.parse_args()
    ask = (server if options.model.startswith("http") else transformers_model)(options.model)
    records = read_records(options.list)[: options.limit]
    right, lines = 0, []
    for record in records:
        question, label = (turn["content"].replace("<image>", "") for turn in record["messages"][-2:])
        predict = ask(options.list.parent.parent / record["images"][0], question, options.max_new_tokens)
        right += predict == label
        lines.append(json.dumps({"prompt": question, "predict": predict, "label": label}, ensure_ascii=False))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{right} of {len(records)} answers are right to the letter: {100 * right / len(records):.1f} %")


if __name__ == "__main__":
    main()
