#!/usr/bin/env python3
"""Names that vLLM's server has: fields of a chat completion request and options of its command line.

    python3 tests/reference/serving_lists.py VERSION=FOLDER...

FOLDER holds the `vllm` package of that version (its source is read, nothing is imported or run); the values in the
repository come from 0.8.5, 0.11.0 and 0.33.0. Writes tests/golden/serve/vllm_names.json:
{"fields": {name: [versions]}, "options": {name: [versions]}}.
"""
import ast
import json
import pathlib
import sys

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden" / "serve" / "vllm_names.json"
REQUESTS = ["entrypoints/openai/chat_completion/protocol.py", "entrypoints/openai/protocol.py"]
OPTIONS = ["engine/arg_utils.py", "entrypoints/openai/cli_args.py", "entrypoints/common/cli_args.py"]


def trees(folder, files):
    return [ast.parse(path.read_text(encoding="utf-8")) for path in (folder / "vllm" / f for f in files) if path.exists()]


def annotated(node):
    """Names of a class's fields; class variables and private ones are none."""
    return [s.target.id for s in node.body
            if isinstance(s, ast.AnnAssign) and not s.target.id.startswith("_") and "ClassVar" not in ast.unparse(s.annotation)]


def fields(folder):
    classes = [n for tree in trees(folder, REQUESTS) for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    return [name for node in classes if node.name == "ChatCompletionRequest" for name in annotated(node)]


def options(folder):
    found = []
    for tree in trees(folder, OPTIONS):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name in ("FrontendArgs", "BaseFrontendArgs"):
                found += [name.replace("_", "-") for name in annotated(node)]
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
                texts = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
                found += [text.lstrip("-") for text in texts if text.startswith("--")]
    return found


def main():
    versions = dict(argument.split("=", 1) for argument in sys.argv[1:])
    lists = {"fields": {}, "options": {}}
    for version, folder in versions.items():
        for kind, names in (("fields", fields), ("options", options)):
            for name in dict.fromkeys(names(pathlib.Path(folder))):
                lists[kind].setdefault(name, []).append(version)
    rows = ",\n".join(f'"{kind}": {{\n' + ",\n".join(f" {json.dumps(n)}: {json.dumps(v)}" for n, v in names.items()) + "\n}"
                      for kind, names in lists.items())
    OUT.write_text("{" + rows + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
