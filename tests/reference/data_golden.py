"""Writes tests/golden/data: token ids and labels that LLaMA-Factory 0.9.5 itself makes of records: encoded.json to train
and evaluate, questions.json to predict (ids: the prompt, labels: the answer).

    python tests/reference/data_golden.py TEST_DATA    # the folder that LAMINA_TEST_DATA names

TEST_DATA holds qwen3-tokenizer/ (the tokenizer of Qwen3) and llamafactory/data/ (its demo data). The processors are made
up from the values of the released checkpoints. Of the demo data only hashes are kept; the cases of cases/*.json are ours.
"""

import json
import logging
import os
import re
import struct
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

os.environ["DISABLE_VERSION_CHECK"] = "1"
os.environ["LLAMAFACTORY_VERBOSITY"] = "ERROR"

# LLaMA-Factory imports torchaudio, which has no use here and does not load with every build of torch.
sys.modules["torchaudio"] = ModuleType("torchaudio")
sys.modules["torchaudio"].__spec__ = ModuleSpec("torchaudio", None)

from PIL import Image, ImageDraw  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor  # noqa: E402
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor  # noqa: E402
from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor  # noqa: E402
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor  # noqa: E402
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor  # noqa: E402

from llamafactory.data.converter import get_dataset_converter  # noqa: E402
from llamafactory.data.parser import get_dataset_list  # noqa: E402
from llamafactory.data.processor import SupervisedDatasetProcessor, UnsupervisedDatasetProcessor  # noqa: E402
from llamafactory.data.template import get_template_and_fix_tokenizer  # noqa: E402
from llamafactory.hparams import DataArguments  # noqa: E402

logging.disable(logging.CRITICAL)

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "golden", "data")
CASES = os.path.join(OUT, "cases")
DEMO = os.path.join(sys.argv[1], "llamafactory", "data")
TOKENIZER = os.path.join(sys.argv[1], "qwen3-tokenizer")
LIMITS = {"image_max_pixels": 262144, "image_min_pixels": 1024}

DEFAULT = {}
OPTIONS = {
    "default": DEFAULT,
    "no_thinking": {"enable_thinking": False},
    "null_thinking": {"enable_thinking": None},
    "mask_history": {"mask_history": True},
    "mask_history_preserve": {"mask_history": True, "preserve_thinking": True},
    "train_on_prompt": {"train_on_prompt": True},
    "default_system": {"default_system": "Antworte auf Deutsch."},
    "cutoff_40": {"cutoff_len": 40},
    "cutoff_33_mask_history": {"cutoff_len": 33, "mask_history": True},
    "cutoff_150": {"cutoff_len": 150},
}
PRESERVING = {
    "preserve": {"preserve_thinking": True},
    "no_thinking_preserve": {"enable_thinking": False, "preserve_thinking": True},
}
TEMPLATES = ["qwen2_vl", "qwen3_vl", "qwen3_vl_nothink"]
QUESTION_OPTIONS = ["default", "no_thinking", "null_thinking", "preserve", "no_thinking_preserve", "cutoff_40"]
DEMO_RUNS = [(t, d, "default") for t in TEMPLATES for d in ("mllm_demo", "identity", "alpaca_en_demo")]
DEMO_RUNS += [("qwen3_vl", "alpaca_en_demo", "cutoff_40"), ("qwen3_vl_nothink", "alpaca_en_demo", "cutoff_150"),
              ("qwen3_vl", "mllm_demo", "mask_history"), ("qwen2_vl", "mllm_demo", "train_on_prompt")]


def draw_pictures():
    """Small pictures of our own: what matters is their size."""
    for name, size in {"wide.png": (300, 168), "small.png": (20, 20), "tall.png": (29, 300), "large.png": (900, 700)}.items():
        picture = Image.new("RGB", size, (230, 240, 250))
        ImageDraw.Draw(picture).ellipse((2, 2, size[0] - 3, size[1] - 3), fill=(200, 30, 60))
        picture.save(os.path.join(CASES, name), optimize=True)


def make_processor(template, tokenizer):
    new = template != "qwen2_vl"
    images = Qwen2VLImageProcessor(
        patch_size=16 if new else 14, temporal_patch_size=2, merge_size=2,
        size={"shortest_edge": 65536, "longest_edge": 16777216} if new else {"shortest_edge": 3136, "longest_edge": 12845056},
        image_mean=[0.5] * 3 if new else [0.48145466, 0.4578275, 0.40821073],
        image_std=[0.5] * 3 if new else [0.26862954, 0.26130258, 0.27577711])
    if new:
        processor = Qwen3VLProcessor(images, tokenizer, Qwen3VLVideoProcessor(), chat_template="")
    else:
        processor = Qwen2_5_VLProcessor(images, tokenizer, Qwen2VLVideoProcessor(), chat_template="")
    for key, value in LIMITS.items():
        setattr(processor, key, value)
    return processor


def fnv1a(ids, labels):
    """64-bit FNV-1a over the little-endian 32-bit ids, then labels."""
    h = 0xCBF29CE484222325
    for byte in struct.pack(f"<{len(ids) + len(labels)}i", *ids, *labels):
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def read_rows(path):
    with open(path, encoding="utf-8") as f:
        rows = [json.loads(line) for line in f if line.strip()] if path.endswith(".jsonl") else json.load(f)
    keys = {key for row in rows for key in row}  # as in a table of columns, what a row lacks is null
    return [{**dict.fromkeys(keys), **row} for row in rows]


def with_argument_objects(row):
    """Arguments of calls that are written as text become the object, as the models' chat template wants them.
    LLaMA-Factory trains them as a string in quotes, which the library does not copy."""
    row = json.loads(json.dumps(row))
    for message in row.get("messages") or []:
        for call in message.get("tool_calls") or []:
            if isinstance(call["function"]["arguments"], str):
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    for message in row.get("conversations") or []:
        if message.get("from") == "function_call":
            message["value"] = re.sub(r'("arguments":\s*)("(?:[^"\\]|\\.)*")', lambda m: m[1] + json.loads(m[2]), message["value"])
    return row


def encode(template_name, data_dir, dataset, options, processor_class):
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    args = DataArguments(template=template_name, dataset_dir=data_dir, **options)
    template = get_template_and_fix_tokenizer(tokenizer, args)
    default_system = template.default_system
    processor = make_processor(template_name, tokenizer)
    encoder = processor_class(template=template, tokenizer=tokenizer, processor=processor, data_args=args)
    info = get_dataset_list([dataset], data_dir)[0]
    convert = get_dataset_converter(info.formatting, info, args)
    pad = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    results = []
    for row in read_rows(os.path.join(data_dir, info.dataset_name)):
        record = convert(with_argument_objects(row))
        if info.formatting == "openai":  # the words that this layout's converter adds are not wanted, see records.hpp
            system = record["_system"].removesuffix("detailed thinking off")
            record["_system"] = system[:-1] if system.endswith("\n") else system
        if len(record["_prompt"]) % 2 != 1 or len(record["_response"]) != 1:
            results.append(None)
            continue
        ids, labels = encoder._encode_data_example(
            prompt=record["_prompt"], response=record["_response"], system=record["_system"], tools=record["_tools"],
            images=record["_images"] or [], videos=[], audios=[])
        wanted = 0
        if record["_images"]:
            grids = template.mm_plugin._get_mm_inputs(record["_images"], [], [], processor)["image_grid_thw"]
            wanted = int(grids.prod(-1).sum()) // 4
        results.append((ids, labels) if ids.count(pad) == wanted else "cut")
    template.default_system = default_system
    return results


def fresh(template_name, data_dir, dataset, options, processor_class=SupervisedDatasetProcessor):
    """default_system is written into LLaMA-Factory's own table of templates: put the original back afterwards."""
    from llamafactory.data.template import TEMPLATES as table
    before = table[template_name].default_system
    try:
        return encode(template_name, data_dir, dataset, options, processor_class)
    finally:
        table[template_name].default_system = before


def compact(results):
    """A hash a row; "-": dropped; "cut": LLaMA-Factory cuts an image in two, which is not copied."""
    return " ".join("-" if r is None else r if r == "cut" else fnv1a(*r) for r in results)


def question_runs():
    options = OPTIONS | PRESERVING
    runs = [("cases", t, d, o) for t in TEMPLATES for d in ("alpaca_cases", "sharegpt_cases", "openai_cases")
            for o in QUESTION_OPTIONS] + [("demo", t, "mllm_demo", "default") for t in TEMPLATES]
    return {"limits": LIMITS, "options": {o: options[o] for o in QUESTION_OPTIONS}, "runs": [
        {"data": data, "template": t, "dataset": d, "options": o,
         "rows": compact(fresh(t, CASES if data == "cases" else DEMO, d, options[o], UnsupervisedDatasetProcessor))}
        for data, t, d, o in runs]}


def write(name, golden):
    with open(os.path.join(OUT, name), "w", encoding="utf-8") as f:
        f.write(json.dumps(golden).replace('{"data"', '\n{"data"').replace('{"template"', '\n{"template"') + "\n")


def main():
    draw_pictures()
    runs, full = [], []
    for template in TEMPLATES:
        for dataset in ("alpaca_cases", "sharegpt_cases", "openai_cases"):
            for name, options in OPTIONS.items():
                results = fresh(template, CASES, dataset, options)
                runs.append({"data": "cases", "template": template, "dataset": dataset, "options": name, "rows": compact(results)})
                if name == "default" and dataset == "sharegpt_cases":
                    for row in (0, 2):
                        full.append({"template": template, "dataset": dataset, "row": row + 1,
                                     "ids": results[row][0], "labels": results[row][1]})
    for template, dataset, name in DEMO_RUNS:
        results = fresh(template, DEMO, dataset, OPTIONS[name])
        runs.append({"data": "demo", "template": template, "dataset": dataset, "options": name, "rows": compact(results)})
    write("encoded.json", {"limits": LIMITS, "options": OPTIONS, "runs": runs, "full": full})
    write("questions.json", question_runs())


if __name__ == "__main__":
    main()
