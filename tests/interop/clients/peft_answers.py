"""Compares adapters that a running lamina-serve answers by, named in requests, with PEFT: python peft_answers.py URL API_KEY MODEL_DIR.

URL ends in /v1; the server serves MODEL_DIR in fp32 as "nano", with at least three adapter slots, and may load adapters. Makes
LoRA adapters of random weights on the decoder, on the projector, on the vision tower and on all of them, has the server load
them, and asks each about an image with the most probable token each time. Needs torch, transformers, peft, pillow. Exits with
status 1 and the failed claim when one does not hold.
"""
import base64
import io
import json
import pathlib
import sys
import tempfile
import urllib.request

import peft
import torch
import transformers
from PIL import Image, ImageDraw

DECODER = r".*language_model.*\.(q_proj|v_proj|o_proj|gate_proj|down_proj)"
PROJECTOR = r".*visual\.(merger|deepstack_merger_list\.\d+)\.linear_fc[12]"
TOWER = r".*visual\.blocks\.\d+\.(attn\.(qkv|proj)|mlp\.linear_fc1)"
TARGETS = {"decoder": DECODER, "projector": PROJECTOR, "tower": TOWER, "all": f"({DECODER}|{PROJECTOR}|{TOWER})"}
TOKENS = 16


def check(claim: str, holds: bool) -> None:
    if not holds:
        sys.exit(f"FAILED: {claim}")
    print(f"ok: {claim}")


def picture() -> Image.Image:
    image = Image.new("RGB", (96, 64), "white")
    ImageDraw.Draw(image).rectangle((10, 20, 60, 50), fill="navy")
    return image


def post(url: str, key: str, body: dict) -> bytes:
    request = urllib.request.Request(url, json.dumps(body).encode(),
                                     {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
    return urllib.request.urlopen(request, timeout=120).read()


def served(url: str, key: str, model: str) -> tuple:
    data = io.BytesIO()
    picture().save(data, "PNG")
    image = {"url": "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()}
    body = {"model": model, "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True, "return_token_ids": True,
            "repetition_penalty": 1, "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": image},
                                                                               {"type": "text", "text": "What is this?"}]}]}
    answer = json.loads(post(url + "/chat/completions", key, body))
    return answer["prompt_token_ids"], answer["choices"][0]["token_ids"]


def inputs_of(directory: str):
    processor = transformers.AutoProcessor.from_pretrained(directory)
    messages = [{"role": "user", "content": [{"type": "image", "image": picture()}, {"type": "text", "text": "What is this?"}]}]
    return processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt")


def answer_of(model, inputs) -> list:
    out = model.generate(**inputs, do_sample=False, min_new_tokens=TOKENS, max_new_tokens=TOKENS, eos_token_id=None,
                         repetition_penalty=1.0, temperature=None, top_p=None, top_k=None)
    return out[0, inputs["input_ids"].shape[1]:].tolist()


def write_adapter(directory: str, targets: str, seed: int, to: pathlib.Path):
    """A model with an adapter that changes what it says; the adapter is saved as PEFT does."""
    base = transformers.AutoModelForImageTextToText.from_pretrained(directory, dtype=torch.float32).eval()
    torch.manual_seed(seed)
    adapted = peft.get_peft_model(base, peft.LoraConfig(r=4, lora_alpha=16, target_modules=targets)).eval()
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.5)
    adapted.save_pretrained(to)
    return adapted


def main() -> None:
    url, key, directory = sys.argv[1:4]
    inputs = inputs_of(directory)
    base = transformers.AutoModelForImageTextToText.from_pretrained(directory, dtype=torch.float32).eval()
    plain, answers = answer_of(base, inputs), {}
    with tempfile.TemporaryDirectory() as folder:
        for seed, (name, targets) in enumerate(TARGETS.items()):
            path = pathlib.Path(folder) / name
            answers[name] = answer_of(write_adapter(directory, targets, seed, path), inputs)
            post(url + "/load_lora_adapter", key, {"lora_name": name, "lora_path": str(path)})
        prompt, found = served(url, key, "nano")
        check("the prompt is transformers'", prompt == inputs["input_ids"][0].tolist())
        check("the model without an adapter says what transformers says", found == plain)
        for name, wanted in answers.items():
            check(f"an adapter on {name} changes the answer", wanted != plain)
            check(f"an adapter on {name} says what PEFT says", served(url, key, name)[1] == wanted)
        check("the model itself is as it was", served(url, key, "nano")[1] == plain)


if __name__ == "__main__":
    main()
