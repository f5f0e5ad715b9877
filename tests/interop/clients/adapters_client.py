"""Asks a running lamina-serve that has adapters with the official openai client: python adapters_client.py URL API_KEY DIR.

URL ends in /v1; DIR is a PEFT folder that fits the model. The server has the model "base" and the adapters "first" and "second", and may
load others. Needs the package openai. Exits with status 1 and the failed claim when one does not hold.
"""
import concurrent.futures
import sys

import openai


def check(claim: str, holds: bool) -> None:
    if not holds:
        sys.exit(f"FAILED: {claim}")
    print(f"ok: {claim}")


def answer(client: openai.OpenAI, model: str) -> str:
    whole = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "One word after another"}],
                                           temperature=0, max_tokens=12, extra_body={"ignore_eos": True, "return_token_ids": True})
    if whole.model != model:
        sys.exit(f"FAILED: {model} answers as {whole.model}")
    return str(whole.choices[0].token_ids)


def main() -> None:
    url, key, folder = sys.argv[1:4]
    client = openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=120)
    cards = {card.id: card for card in client.models.list().data}
    check("base and adapters are listed", list(cards) == ["base", "first", "second"])
    check("an adapter names its base, its folder and its layers", cards["first"].parent == "base" and cards["base"].parent is None
          and cards["first"].root != cards["base"].root and cards["first"].modules > 0)
    check("an adapter can be looked up", client.models.retrieve("second").id == "second")
    names = list(cards)
    alone = {name: answer(client, name) for name in names}
    check("base and adapters answer differently", len(set(alone.values())) == 3)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        asked = [(name, pool.submit(answer, client, name)) for name in names * 4]
    check("together each answers as alone", all(future.result() == alone[name] for name, future in asked))
    text = "".join(chunk.choices[0].text for chunk in client.completions.create(model="first", prompt="One, two,", max_tokens=4, stream=True))
    check("a completion of an adapter is streamed", isinstance(text, str))

    load = {"lora_name": "third", "lora_path": folder}
    check("an adapter is loaded", client.post("/load_lora_adapter", body=load, cast_to=str).startswith("Success"))
    check("it answers as the folder does", answer(client, "third") == alone["first"])
    for claim, path, body, kind in (("a name is loaded once", "/load_lora_adapter", load, openai.BadRequestError),
                                    ("a folder must exist", "/load_lora_adapter", {"lora_name": "x", "lora_path": "/nowhere"}, openai.NotFoundError)):
        try:
            client.post(path, body=body, cast_to=str)
        except kind:
            check(claim, True)
        else:
            check(claim, False)
    check("it is unloaded", client.post("/unload_lora_adapter", body={"lora_name": "third"}, cast_to=str).startswith("Success"))
    try:
        answer(client, "third")
    except openai.NotFoundError:
        check("an adapter that was unloaded is NotFoundError", True)
    else:
        check("an adapter that was unloaded is NotFoundError", False)


if __name__ == "__main__":
    main()
