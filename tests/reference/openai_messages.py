#!/usr/bin/env python3
"""Messages in the OpenAI API's layout and the text that the models' chat templates make of them.

    python3 tests/reference/openai_messages.py

Writes tests/golden/serve/openai_messages.json: [{"name", "messages", "qwen2_5_vl", "qwen3_vl"}]. The messages are turned
into what templates read by vLLM's rules (renderers/chat_utils/chat_message.py of 0.33): arguments given as JSON text
become objects, missing or empty ones {}; a string in a list of parts is a text part; an image is known by its type or
by its image_url. A template that has no turns of developers gets them as system turns, and all system turns as one
(renderers/hf.py). Content that is a string stays one, as transformers leaves it. Needs `jinja2`.
"""
import json
import pathlib

from chat_template import template

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden" / "serve" / "openai_messages.json"
URL = "data:image/png;base64,AAAA"
TEXT_FIELDS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal", "thinking": "thinking"}


def part(value):
    if isinstance(value, str):
        return {"type": "text", "text": value}
    kind = value.get("type")
    if kind in TEXT_FIELDS:
        return {"type": "text", "text": value[TEXT_FIELDS[kind]]}
    return {"type": "image"}


def call(value):
    function = dict(value["function"])
    arguments = function.get("arguments") or {}
    function["arguments"] = json.loads(arguments) if isinstance(arguments, str) else arguments
    return {**value, "function": function}


def for_template(message):
    out = dict(message)
    content = out.get("content")
    out["content"] = [] if content is None else content if isinstance(content, str) else [part(p) for p in content]
    if out.get("tool_calls"):
        out["tool_calls"] = [call(c) for c in out["tool_calls"]]
    return out


def without_developers(messages):
    if not any(m["role"] == "developer" for m in messages):
        return messages
    texts = [m["content"] if isinstance(m["content"], str) else "".join(p["text"] for p in m["content"])
             for m in messages if m["role"] in ("system", "developer")]
    return [{"role": "system", "content": "\n\n".join(texts)}] + [m for m in messages
                                                                 if m["role"] not in ("system", "developer")]


def function(name, **arguments):
    return {"id": "c1", "type": "function", "function": {"name": name, **arguments}}


CALLS = {
    "object": function("weather", arguments={"city": "Zürich", "days": 2.0, "deep": {"a": [1, None, True]}}),
    "text": function("weather", arguments='{"city":"Z\\u00fcrich","days":2.0,  "deep":{"a":[1,null,true]}}'),
    "empty text": function("now", arguments=""),
    "null": function("now", arguments=None),
    "none": function("now"),
}
CONTENTS = {
    "text": {"content": "Let me look."}, "empty": {"content": ""}, "null": {"content": None}, "none": {},
    "list": {"content": [{"type": "text", "text": "Let me "}, "look."]}, "empty list": {"content": []},
}
USER = {"role": "user", "content": "Weather?"}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": '{"t": 3.5}'}
CONVERSATIONS = {
    f"content {c}, arguments {a}": [USER, {"role": "assistant", **content, "tool_calls": [made]}, RESULT]
    for c, content in CONTENTS.items() for a, made in CALLS.items()
}
CONVERSATIONS |= {
    "two calls, two results": [USER, {"role": "assistant", "content": "Both.", "tool_calls": [CALLS["text"], CALLS["object"]]},
                               RESULT, {**RESULT, "content": [{"type": "text", "text": "ok"}]}],
    "no calls": [USER, {"role": "assistant", "content": "No.", "tool_calls": []}, USER],
    "reasoning and names": [{**USER, "name": "ann"}, {"role": "assistant", "content": "4", "reasoning": "2+2"}, USER],
    "strings in a list": [{"role": "user", "content": ["a", {"type": "text", "text": "b"}, "c"]}],
    "all kinds of text": [{"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "output_text", "text": "b"},
                                                      {"type": "refusal", "refusal": "c"}, {"type": "thinking", "thinking": "d"}]}],
    "images of every form": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": URL, "detail": "low"}}, {"image_url": {"url": URL}}, {"image_url": URL}, "and",
        {"type": "image_url", "image_url": URL, "uuid": "u1"}, {"type": "input_image", "image_url": URL, "detail": "auto"}]}],
    "image of a tool": [USER, {"role": "assistant", "content": None, "tool_calls": [CALLS["text"]]},
                        {**RESULT, "content": ["seen: ", {"image_url": {"url": URL}}]}],
    "images of an assistant and of the system": [
        {"role": "system", "content": ["See ", {"image_url": {"url": URL}}]}, USER,
        {"role": "assistant", "content": [{"image_url": {"url": URL}}, {"type": "text", "text": "there"}]}, USER],
    "a developer": [{"role": "developer", "content": "Be brief."}, USER],
    "a system, then developers": [{"role": "system", "content": "A"}, {"role": "developer", "content": "B"}, USER,
                                  {"role": "developer", "content": [{"type": "text", "text": "C"}]}],
    "system in parts": [{"role": "system", "content": ["Be ", {"type": "text", "text": "brief."}]}, USER],
}


def main():
    templates = {family: template(family) for family in ("qwen2_5_vl", "qwen3_vl")}
    rows = []
    for name, messages in CONVERSATIONS.items():
        rendered = {family: t.render(messages=[for_template(m) for m in without_developers(messages)], add_generation_prompt=True)
                    for family, t in templates.items()}
        rows.append(json.dumps({"name": name, "messages": messages, **rendered}, ensure_ascii=False, separators=(",", ":")))
    OUT.write_text("[" + ",\n".join(rows) + "]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
