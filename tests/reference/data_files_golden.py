"""Writes what the `datasets` library 4.0 and LLaMA-Factory 0.9.5 make of data-set files and of dataset_info.json:

    python tests/reference/data_files_golden.py

golden/data/files.json: rows that the JSON and CSV readers take of a file, or null for an error
golden/data/splits.json: rows that a "split" takes, or null for an error
golden/data/registry_keys.json: the keys that an entry of dataset_info.json may have
golden/data/draws.json: rows that LLaMA-Factory takes by num_samples, max_samples, val_size and mix_strategy; the data
  sets are a, b and c of 6, 91 and 150 rows, and row i of c is written ["c", i]
"""

import ast
import dataclasses
import inspect
import json
import math
import os
import tempfile

os.environ["DISABLE_VERSION_CHECK"] = "1"
os.environ["LLAMAFACTORY_VERBOSITY"] = "ERROR"

import datasets  # noqa: E402
import numpy as np  # noqa: E402
from datasets import load_dataset  # noqa: E402
from transformers import Seq2SeqTrainingArguments, set_seed  # noqa: E402

from llamafactory.data import loader, parser  # noqa: E402
from llamafactory.data.data_utils import split_dataset  # noqa: E402
from llamafactory.hparams import DataArguments, ModelArguments  # noqa: E402

datasets.disable_progress_bars()
datasets.logging.set_verbosity(100)

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "golden", "data")

JSON_FILES = {
    "list": '[{"k":1},{"k":2}]',
    "lines": '{"k":1}\n{"k":2}\n',
    "several in a row": '{"k":1}{"k":2} {"k":3}\n{"k":4}',
    "objects over lines": '{\n"k":1\n}\n{\n"k":2\n}\n',
    "one object": '{"k":1}',
    "mark in front of lines": '\ufeff{"k":1}\n{"k":2}\n',
    "mark in front of a list": '\ufeff[{"k":1},{"k":2}]',
    "blank lines": '\n\n{"k":1}\n\n  \n{"k":2}\n\n',
    "carriage returns": '{"k":1}\r\n{"k":2}\r\n',
    "last line cut": '{"k":1}\n{"k":2}\n{"k":',
    "line cut": '{"k":1}\n{"k":\n{"k":2}\n',
    "string cut": '{"k":"a"}\n{"k":"b\n{"k":"c"}\n',
    "list cut": '[{"k":1},{"k":2}',
    "NaN in lines": '{"k":NaN}\n{"k":1}\n',
    "NaN in a list": '[{"k":NaN},{"k":1}]',
    "Infinity in lines": '{"k":Infinity}\n{"k":-Infinity}\n',
    "Infinity in a list": '[{"k":Infinity},{"k":-Infinity}]',
    "NaN inside": '{"k":[1.0,NaN]}\n{"k":[1]}\n',
    "nan": '{"k":nan}\n',
    "tab in lines": '{"k":"a\tb"}\n{"k":"c"}\n',
    "tab in a list": '[{"k":"a\tb"}]',
    "newline in lines": '{"k":"a\nb"}\n{"k":"c"}\n',
    "newline in a list": '[{"k":"a\nb"}]',
    "control character in lines": '{"k":"a\x01b"}\n',
    "control character in a list": '[{"k":"a\x01b"}]',
    "NUL in lines": '{"k":"a\x00b"}\n',
    "NUL in a list": '[{"k":"a\x00b"}]',
    "escaped NUL in lines": '{"k":"a\\u0000b"}\n',
    "escaped NUL in a list": '[{"k":"a\\u0000b"}]',
    "escapes": '{"k":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9"}\n',
    "wrong escape": '{"k":"\\x"}\n',
    "field data": '{"data":[{"k":1},{"k":2}]}',
    "columns": '{"k":[1,2],"m":["a","b"]}',
    "object of objects": '{"r1":{"k":1},"r2":{"k":2}}',
    "list of strings": '["a","b"]',
    "lines of strings": '"a"\n"b"\n',
    "lines of numbers": "1\n2\n",
    "empty": "",
    "blank": "\n \n",
    "empty list": "[]",
    "not UTF-8 in lines": '{"k":"a\udcffb"}\n',
    "not UTF-8 in a list": '[{"k":"a\udcffb"}]',
    "lone surrogate in lines": '{"k":"a\\ud83d"}\n',
    "lone surrogate in a list": '[{"k":"a\\ud83d"}]',
    "surrogate pair": '{"k":"\\ud83d\\ude00"}\n',
    "key twice in lines": '{"k":1,"k":2}\n',
    "key twice in a list": '[{"k":1,"k":2}]',
    "keys missing in lines": '{"k":1}\n{"m":"x"}\n',
    "keys missing in a list": '[{"k":1},{"m":"x"}]',
    "two types in lines": '{"k":1}\n{"k":"x"}\n',
    "two types in a list": '[{"k":1},{"k":"x"}]',
    "whole and real": '{"k":1}\n{"k":2.5}\n',
    "comment": '{"k":1} // x\n',
    "comma at the end of a list": '[{"k":1},]',
    "comma at the end of an object": '{"k":1,}\n',
    "text behind a list": '[{"k":1}] x',
    "two lists": '[{"k":1}]\n[{"k":2}]\n',
    "single quotes": "{'k':1}\n",
    "zero in front": '{"k":01}\n',
    "date in lines": '{"k":"2020-01-02"}\n',
    "date in a list": '[{"k":"2020-01-02"}]',
    "large number in lines": '{"k":12345678901234567890123}\n',
    "large number in a list": '[{"k":12345678901234567890123}]',
    "null in lines": '{"k":null}\n{"k":"a"}\n',
    "null in a list": '[{"k":null},{"k":"a"}]',
    "null as a line": '{"k":1}\nnull\n',
    "null as an item": '[{"k":1},null]',
    "text behind an object": '{"k":1} x\n{"k":2}\n',
}
CSV_FILES = {
    "plain": "a,b\nx,y\nz,w\n",
    "quotes": 'a,b\n"x, ""q""",y\n"line1\nline2",w\n"""",""\n',
    "carriage returns": 'a,b\r\nx,y\r\n"p\r\nq",w\r\n',
    "carriage returns alone": "a,b\rx,y\r",
    "mark": '\ufeff"a",b\nx,y\n',
    "whole numbers": "a,b\n1,x\n-2,y\n",
    "whole numbers and none": "a,b\n1,x\n,y\n",
    "reals": "a,b\n1.5,x\n2,y\n.5,z\n5.,u\n1e5,v\ninf,w\n-Infinity,t\n",
    "true and false": "a,b\nTrue,x\nfalse,y\nTRUE,z\n",
    "true and none": "a,b\nTrue,x\n,y\n",
    "numbers and words": "a,b\n1,x\nz,y\n",
    "true and numbers": "a,b\nTrue,x\n1,y\n",
    "none": 'a,b\nNA,x\nnull,y\nNone,z\n"NA",w\nnan,v\nword,u\n NA,t\n',
    "none at all": "a,b\n,x\n,y\n",
    "blank lines": "\n\na,b\n\nx,y\n\n   \nz,w\n\n",
    "few fields": "a,b\nx\nz,w\n",
    "many fields": "a,b\nx,y\nz,w,v\n",
    "name twice": "a,a,b,a\nx,y,z,w\n",
    "name empty": "a,,b\nx,y,z\n",
    "quote inside": 'a,b\nx"y"z,w\n',
    "text behind a quote": 'a,b\n"x"y,w\n',
    "quote open": 'a,b\n"x,y\nz,w\n',
    "spaces": "a, b\n x , y \n",
    "spaces around numbers": "a,b\n 1,x\n2 ,y\n",
    "names only": "a,b\n",
    "empty": "",
    "large number": "a,b\n123456789012345678901234,x\n2,y\n",
    "64 bits": "a,b\n18446744073709551615,x\n2,y\n",
    "plus and zeros": "a,b\n+5,x\n007,y\n",
    "thousands": 'a,b\n"1,000",x\n',
    "one column": 'a\nx\n\n""\ny\n',
    "not UTF-8": "a,b\nx\udcff,y\n",
    "no newline at the end": "a,b\nx,y",
    "backslash": 'a,b\n"x\\"y",z\n',
    "no numbers": "a,b\n0x1F,1_000\n",
    "list": 'a,images\nx,"[""p.png"", ""q.png""]"\n',
    "commas only": "a,b\n,\nx,y\n",
}
SPLITS = [
    "train", "train[:2]", "train[10%:]", "train[-3:]", "train[:-1]", "train[2:4]", "train[:0]", "train[:]",
    "train[:50%](pct1_dropremainder)", "train[:50%](closest)", "train[:2](closest)", "train[:50%](foo)", "train+train",
    "train[:2]+train[-1:]", "train[:2]+test", "test", "validation[:2]", "all", "Train", "train[2]", "train[:150%]",
    "train[:-150%]", "train[:1_0]", "train[:1__0]", "train[:_1]", "train[5:10%]", "train[:33%]", "train[:25%]",
    "train[:75%]", "train[-25%:]", "train[ :2]", "", "train[:2]]", "train[99:]", "train[:999]", "train[-999:2]",
    "train[:10%]+train[20%:](pct1_dropremainder)", "train[:2]+train[:50%](pct1_dropremainder)", "train[:0]+train[:2]",
    "train.x", "train[:3%]", "train[:7%]", "train[:17%]", "train[:42%]", "train[:50.5%]", "train()", "train[:+2]", "all[:2]",
    "train[:-]", "train[:2", "train[:99999999999999999999]",
]
DRAWS = [
    {"dataset": ["b"], "num_samples": {"b": 20}},
    {"dataset": ["a", "b"], "num_samples": {"a": 15, "b": 91}, "seed": 7},
    {"dataset": ["a"], "eval_dataset": ["b"], "num_samples": {"a": 8, "b": 12}},
    {"dataset": ["b"], "num_samples": {"b": 20}, "max_samples": 12, "val_size": 0.25},
    {"dataset": ["a", "b"], "val_size": 0.1},
    {"dataset": ["c"], "val_size": 30, "seed": 1234},
    {"dataset": ["a", "b", "c"], "mix_strategy": "interleave_under", "interleave_probs": "0.1,0.3,0.6"},
    {"dataset": ["a", "b", "c"], "mix_strategy": "interleave_over", "interleave_probs": "0.2,0.3,0.5", "seed": 3},
    {"dataset": ["a", "b"], "mix_strategy": "interleave_over", "max_samples": 10, "val_size": 4},
    {"dataset": ["b", "c"], "mix_strategy": "interleave_under", "val_size": 0.05},
    {"dataset": ["c"], "split": {"c": "train[10%:30%]+train[-5:]"}, "num_samples": {"c": 40}, "val_size": 9},
]


def plain(value):
    """Values that JSON cannot write, as words."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"<{value}>"
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, (str, int, float)) else f"<{type(value).__name__}>"


def read(kind, text):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x." + kind)
        with open(path, "wb") as f:
            f.write(text.encode("utf-8", "surrogateescape"))
        try:
            return [plain(row) for row in load_dataset(kind, data_files=[path], split="train", cache_dir=folder + "/c")]
        except Exception:
            return None


def hexed(text):
    return text.encode("utf-8", "surrogateescape").hex()


def files():
    return {kind: [{"name": name, "bytes": hexed(text), "rows": read(kind, text)} for name, text in texts.items()]
            for kind, texts in {"json": JSON_FILES, "csv": CSV_FILES}.items()}


def splits():
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (6, 150):
            path = os.path.join(folder, f"{count}.json")
            with open(path, "w") as f:
                json.dump([{"k": i} for i in range(count)], f)
            for split in SPLITS:
                try:
                    rows = load_dataset("json", data_files=[path], split=split, cache_dir=folder + "/c")["k"][:] or None
                except Exception:
                    rows = None
                out.append({"count": count, "split": split, "rows": rows})
    return out


def registry_keys():
    """The strings that the parser looks up, and the fields of its class."""
    join = ast.parse(inspect.getsource(parser.DatasetAttr.join).replace("\n    ", "\n").strip())
    lists = [[item.value for item in node.elts] for node in ast.walk(join) if isinstance(node, ast.List)]
    tags = next(names for names in lists if "user_tag" in names) + ["role_tag", "content_tag"]
    columns = [name for names in lists if not set(names) & set(tags) for name in names]
    source = ast.parse(inspect.getsource(parser.get_dataset_list))
    looked_up = {node.value for node in ast.walk(source) if isinstance(node, ast.Constant) and isinstance(node.value, str)
                 and node.value.endswith(("_url", "file_name"))}
    fields = {field.name for field in dataclasses.fields(parser.DatasetAttr)} - set(tags) - set(columns)
    return {"entry": sorted(fields | looked_up | {"columns", "tags"}), "columns": sorted(columns), "tags": sorted(set(tags))}


def draws():
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for name, count in {"a": 6, "b": 91, "c": 150}.items():
            with open(os.path.join(folder, name + ".json"), "w") as f:
                json.dump([{"instruction": "q", "input": "", "output": f"{name}{i}"} for i in range(count)], f)
        for config in DRAWS:
            with open(os.path.join(folder, "dataset_info.json"), "w") as f:
                json.dump({name: {"file_name": name + ".json",
                                  **({"num_samples": config["num_samples"][name]} if name in config.get("num_samples", {}) else {}),
                                  **({"split": config["split"][name]} if name in config.get("split", {}) else {})}
                           for name in "abc"}, f)
            keys = {key: config[key] for key in ("max_samples", "val_size", "mix_strategy", "interleave_probs") if key in config}
            args = DataArguments(template="qwen3_vl", dataset_dir=folder, dataset=",".join(config["dataset"]),
                                 eval_dataset=",".join(config["eval_dataset"]) if "eval_dataset" in config else None, **keys)
            seed = config.get("seed", 42)
            set_seed(seed)  # as LLaMA-Factory does when it reads its arguments
            training = Seq2SeqTrainingArguments(output_dir=folder, seed=seed, report_to="none")
            model = ModelArguments(model_name_or_path="x", cache_dir=folder + "/c")
            merge = lambda names: loader._get_merged_dataset(names, model, args, training, "sft")  # noqa: E731
            train, evaluation = split_dataset(merge(args.dataset), merge(args.eval_dataset), args, seed)
            rows = lambda data: [[r[0]["content"][0], int(r[0]["content"][1:])] for r in data["_response"]]  # noqa: E731
            out.append({**config, "train": rows(train["train"]),
                        "eval": rows(evaluation["validation"]) if evaluation else None})
    return out


def write(name, value):
    with open(os.path.join(OUT, name), "w", encoding="utf-8") as f:
        f.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace('{"name"', '\n{"name"')
                .replace('{"count"', '\n{"count"').replace('{"dataset"', '\n{"dataset"') + "\n")


if __name__ == "__main__":
    write("files.json", files())
    write("splits.json", splits())
    write("registry_keys.json", registry_keys())
    write("draws.json", draws())
