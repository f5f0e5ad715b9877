"""Asks a running lamina-serve for answers of random JSON schemas: python random_schemas.py URL API_KEY [COUNT] [PID].

URL ends in /v1. Needs the package jsonschema. Every answer that ended by itself must validate, and no request may take longer
to begin than a schema may take to compile. With the server's process id its memory must not grow by more than 256 MiB.
Exits with status 1 and the failed claim when one does not hold.
"""
import json
import pathlib
import random
import sys
import time
import urllib.error
import urllib.request

import jsonschema

WORDS = ["name", "age", "id", "tags", "Größe", "x y", "value", "kind", "0"]


def scalar(r: random.Random) -> dict:
    low = r.randint(-50, 50)
    return r.choice([
        lambda: {"type": "string", "maxLength": r.randint(0, 12)},
        lambda: {"type": "string", "minLength": 1, "maxLength": 8},
        lambda: {"type": "string", "pattern": r.choice(["^[a-z]{1,6}$", "^(red|green)$", "^[0-9]{2}:[0-9]{2}$", "^a+b?$"])},
        lambda: {"type": "string", "format": r.choice(["date", "time", "date-time", "uuid", "ipv4", "email"])},
        lambda: {"type": "integer", "minimum": low, "maximum": low + r.randint(0, 1000)},
        lambda: {"type": "integer", "exclusiveMinimum": low},
        lambda: {"type": "number", "minimum": low, "maximum": low + r.randint(1, 9)},
        lambda: {"type": r.choice(["boolean", "null", "integer", "number"])},
        lambda: {"enum": r.sample(["a", "b", 1, 2.5, None, True, "ü"], r.randint(1, 4))},
        lambda: {"const": r.choice(["only", 7, None, [1, "x"], {"k": 1}])},
    ])()


def schema(r: random.Random, depth: int) -> dict:
    if depth == 0 or r.random() < 0.3:
        return scalar(r)
    inner = lambda: schema(r, depth - 1)
    return r.choice([
        lambda: {"type": "array", "items": inner(), "minItems": (n := r.randint(0, 2)), "maxItems": n + r.randint(0, 2)},
        lambda: {"type": "array", "prefixItems": [inner() for _ in range(r.randint(1, 3))], "items": False},
        lambda: an_object(r, inner), lambda: an_object(r, inner), lambda: an_object(r, inner),
        lambda: {"anyOf": [inner() for _ in range(r.randint(1, 3))]},
        lambda: {"type": ["string", "null"], "maxLength": 5},
    ])()


def an_object(r: random.Random, inner) -> dict:
    names = r.sample(WORDS, r.randint(0, 4))
    out = {"type": "object", "properties": {name: inner() for name in names},
           "required": [name for name in names if r.random() < 0.6]}
    if r.random() < 0.3:
        out["additionalProperties"] = False
    return out


def with_definitions(r: random.Random) -> dict:
    whole = an_object(r, lambda: schema(r, 2))
    if r.random() < 0.3:
        whole["$defs"] = {"part": schema(r, 1)}
        whole["properties"]["part"] = {"$ref": "#/$defs/part"}
        whole["required"].append("part")
    return whole


def memory_mib(pid: str) -> float:
    lines = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def ask(url: str, key: str, wanted: dict, seed: int) -> tuple:
    """Status, answer or message, and why it ended. A first token is all of the time that compiling can hide in."""
    body = {"model": "nano", "messages": [{"role": "user", "content": "Invent."}], "max_tokens": 300, "seed": seed, "temperature": 1,
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": wanted}}}
    request = urllib.request.Request(url + "/chat/completions", json.dumps(body).encode(),
                                     {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
    try:
        choice = json.load(urllib.request.urlopen(request, timeout=120))["choices"][0]
        return 200, choice["message"]["content"], choice["finish_reason"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["error"]["message"], "error"


def main() -> None:
    url, key = sys.argv[1:3]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 500
    pid = sys.argv[4] if len(sys.argv) > 4 else None
    before = memory_mib(pid) if pid else 0.0
    valid = cut = refused = 0
    slowest = 0.0
    for seed in range(count):
        wanted = with_definitions(random.Random(seed))
        begun = time.monotonic()
        status, text, ended = ask(url, key, wanted, seed)
        slowest = max(slowest, time.monotonic() - begun)
        if status == 400:
            refused += 1
            print(f"seed {seed}: refused: {text}")
        elif status != 200:
            sys.exit(f"FAILED: seed {seed}: status {status}: {text}")
        elif ended == "length":
            cut += 1
        else:
            try:
                jsonschema.Draft202012Validator(wanted).validate(json.loads(text))
            except (ValueError, jsonschema.ValidationError) as error:
                sys.exit(f"FAILED: seed {seed}: {json.dumps(wanted)}\n{text}\n{error}")
            valid += 1
    grown = memory_mib(pid) - before if pid else 0.0
    print(f"{count} schemas: {valid} valid, {cut} cut, {refused} refused; slowest {slowest:.2f} s; memory grew by {grown:.0f} MiB")
    if valid < 0.8 * count or refused > 0.02 * count:
        sys.exit("FAILED: most answers end by themselves and validate")
    if grown > 256:
        sys.exit("FAILED: 256 MiB are enough for what is kept of schemas")
    print("ok: every answer that ended by itself validates")


if __name__ == "__main__":
    main()
