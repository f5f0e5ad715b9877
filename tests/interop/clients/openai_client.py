"""Asks a running lamina-serve with the official openai client: python openai_client.py URL [API_KEY].

URL ends in /v1. Needs the packages openai (which brings pydantic) and pillow. Exits with status 1 and the failed claim when one does not hold.
"""
import base64
import io
import json
import sys

import openai
import pydantic
from PIL import Image, ImageDraw


def image() -> str:
    image = Image.new("RGB", (96, 64), "white")
    ImageDraw.Draw(image).text((10, 20), "42", fill="black")
    data = io.BytesIO()
    image.save(data, "PNG")
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()


def question(text: str, *urls: str) -> list:
    if not urls:
        return [{"role": "system", "content": "You read images."}, {"role": "user", "content": text}]
    parts = [{"type": "text", "text": text}]
    parts += [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": parts}]


def check(claim: str, holds: bool) -> None:
    if not holds:
        sys.exit(f"FAILED: {claim}")
    print(f"ok: {claim}")


def raises(claim: str, kind: type, status: int, call) -> None:
    try:
        call()
    except kind as error:
        check(claim, error.status_code == status and bool(error.message))
    else:
        check(claim, False)


def answers(client: openai.OpenAI, model: str) -> None:
    ask = client.chat.completions.create
    whole = ask(model=model, messages=question("Hello"), temperature=0, max_tokens=12)
    choice = whole.choices[0]
    check("an answer has an id, a model and a role", whole.id.startswith("chatcmpl-") and whole.model == model
          and choice.message.role == "assistant")
    check("finish_reason is stop or length", choice.finish_reason in ("stop", "length"))
    check("usage adds up", whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
          and 0 < whole.usage.completion_tokens <= 12)

    chunks = list(ask(model=model, messages=question("Hello"), temperature=0, max_tokens=12, stream=True,
                      stream_options={"include_usage": True}))
    check("the first chunk names the role", chunks[0].choices[0].delta.role == "assistant")
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    check("the stream says what the whole answer says", text == choice.message.content)
    check("the last chunk carries the same usage", chunks[-1].usage.completion_tokens == whole.usage.completion_tokens)
    finishes = [c.choices[0].finish_reason for c in chunks if c.choices]
    check("one chunk finishes", finishes[-1] == choice.finish_reason and not any(finishes[:-1]))

    seen = ask(model=model, messages=question("What is this?", image()), temperature=0.1, max_tokens=8, timeout=60)
    named = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": image()}, "uuid": "scan"}, {"type": "text", "text": "?"}]}]
    left_out = [{"role": "user", "content": [{"type": "image_url", "image_url": None, "uuid": "scan"}, {"type": "text", "text": "?"}]}]
    tokens = [ask(model=model, messages=m, max_tokens=1).usage.prompt_tokens for m in (named, left_out)]
    check("an image that has a uuid may be left out later", tokens[0] == tokens[1])
    two = ask(model=model, messages=question("And these?", image(), image()), temperature=0.1, max_tokens=8)
    check("images count as prompt tokens", two.usage.prompt_tokens > seen.usage.prompt_tokens > 10)

    def same(seed):
        return ask(model=model, messages=question("Hello"), seed=seed, temperature=1, top_p=0.9, max_tokens=12,
                   extra_body={"top_k": 50, "ignore_eos": True}).choices[0].message.content

    check("a seed repeats itself", same(3) == same(3))
    detailed = ask(model=model, messages=question("Hello"), temperature=0, max_tokens=3, logprobs=True, top_logprobs=2)
    entries = detailed.choices[0].logprobs.content
    check("logprobs have an entry a token", len(entries) == detailed.usage.completion_tokens
          and all(len(entry.top_logprobs) == 2 for entry in entries))
    if len(choice.message.content) > 4:
        stop = choice.message.content[2:4]
        cut = ask(model=model, messages=question("Hello"), temperature=0, max_tokens=12, stop=[stop])
        check("a stop string ends the answer before it", stop not in cut.choices[0].message.content
              and cut.choices[0].finish_reason == "stop")


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=12)
    age: int = pydantic.Field(ge=0, le=130)
    pets: list["Pet"] = pydantic.Field(max_length=2)


class Pet(pydantic.BaseModel):
    kind: str = pydantic.Field(pattern="^(cat|dog)$")
    weight: float | None = pydantic.Field(ge=0, le=100)


def structured(client: openai.OpenAI, model: str) -> None:
    def ask(**fields):
        return client.chat.completions.create(model=model, messages=question("Invent."), max_tokens=100, seed=1,
                                              temperature=1, **fields).choices[0].message.content

    parse = getattr(client.chat.completions, "parse", None) or client.beta.chat.completions.parse
    parsed = 0
    for seed in range(8):
        try:
            person = parse(model=model, messages=question("Invent."), response_format=Person, max_tokens=800, seed=seed,
                           temperature=1).choices[0].message.parsed
            parsed += isinstance(person, Person)
        except openai.LengthFinishReasonError:  # a model that says anything may be cut
            parsed += 0
    check("parse() returns a value of the class", parsed > 0)
    whole = client.chat.completions.create(model=model, messages=question("Invent."), max_tokens=800, seed=1,
                                           response_format={"type": "json_object"}).choices[0]
    check("json_object is an object, if it was not cut",
          whole.finish_reason == "length" or isinstance(json.loads(whole.message.content), dict))
    check("a choice is one of them", ask(extra_body={"guided_choice": ["red", "green"]}) in ("red", "green"))
    check("a regex is matched", len(ask(extra_body={"structured_outputs": {"regex": "[a-z]{5}"}})) == 5)
    check("a grammar is followed",
          ask(extra_body={"guided_grammar": 'root ::= "(" ("a" | root) ")"'}).strip("()") == "a")
    raises("an unsupported schema is BadRequestError", openai.BadRequestError, 400,
           lambda: ask(extra_body={"guided_json": {"not": {}}}))


def tools(client: openai.OpenAI, model: str) -> None:
    given = [{"type": "function", "function": {"name": "weather", "parameters": {
        "type": "object", "properties": {"city": {"type": "string", "maxLength": 8}, "days": {"enum": [1, 2, 3]}},
        "required": ["city", "days"]}}}, {"type": "function", "function": {"name": "clock"}}]
    named = {"type": "function", "function": {"name": "weather"}}

    def ask(**fields):
        return client.chat.completions.create(**{"model": model, "messages": question("Rain?"), "tools": given,
                                                 "max_tokens": 200, "seed": 2, "temperature": 1, **fields})

    choice = ask(tool_choice=named).choices[0]
    call = choice.message.tool_calls[0]
    check("a named function is called with arguments of its schema", call.function.name == "weather"
          and json.loads(call.function.arguments)["days"] in (1, 2, 3) and choice.finish_reason == "stop")
    parts = [c.choices[0].delta.tool_calls[0] for c in ask(tool_choice=named, stream=True)
             if c.choices and c.choices[0].delta.tool_calls]
    check("a streamed call has one name and id, and the same arguments", parts[0].function.name == "weather"
          and bool(parts[0].id) and not any(p.id for p in parts[1:])
          and "".join(p.function.arguments or "" for p in parts) == call.function.arguments)
    required = ask(tool_choice="required", parallel_tool_calls=False).choices[0]
    check("a required call is finished by tool_calls, if it was not cut", required.finish_reason == "length"
          or (required.finish_reason == "tool_calls" and len(required.message.tool_calls) == 1))
    history = question("Rain?") + [choice.message.model_dump(exclude_none=True),
                                   {"role": "tool", "tool_call_id": call.id, "content": "12 mm"}]
    check("calls and results can be sent back", bool(ask(messages=history, tool_choice="none", max_tokens=2).id))
    check("auto may answer without a call", bool(ask(max_tokens=4).choices[0].message))


def responses(client: openai.OpenAI, model: str) -> None:
    ask = client.responses.create
    whole = ask(model=model, instructions="You read images.", input="Hello", temperature=0, max_output_tokens=12)
    check("a response has text and usage", whole.id.startswith("resp_") and whole.output_text == whole.output[0].content[0].text
          and whole.usage.total_tokens == whole.usage.input_tokens + whole.usage.output_tokens)
    check("a response that was cut is incomplete", whole.status == "completed"
          or whole.incomplete_details.reason == "max_output_tokens")
    events = list(ask(model=model, instructions="You read images.", input="Hello", temperature=0, max_output_tokens=12, stream=True))
    check("a streamed response is numbered and says the same", [e.sequence_number for e in events] == list(range(len(events)))
          and "".join(e.delta for e in events if e.type == "response.output_text.delta") == whole.output_text
          and events[-1].response.output_text == whole.output_text)
    seen = [{"role": "user", "content": [{"type": "input_text", "text": "What is this?"},
                                         {"type": "input_image", "image_url": image(), "detail": "auto"}]}]
    check("an image is read", ask(model=model, input=seen, max_output_tokens=4).usage.input_tokens > 20)
    parsed = 0
    for seed in range(8):
        try:
            person = client.responses.parse(model=model, input="Invent.", text_format=Person, max_output_tokens=800,
                                            temperature=1, extra_body={"seed": seed}).output_parsed
        except pydantic.ValidationError:  # a model that says anything may be cut
            continue
        parsed += isinstance(person, Person)
    check("responses.parse() returns a value of the class", parsed > 0)
    weather = [{"type": "function", "name": "weather", "strict": True, "parameters": {
        "type": "object", "properties": {"days": {"enum": [1, 2, 3]}}, "required": ["days"], "additionalProperties": False}}]
    with client.responses.stream(model=model, input="Rain?", tools=weather, tool_choice="required", parallel_tool_calls=False,
                                 max_output_tokens=200) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    call = final.output[-1]
    check("responses.stream() ends with a call of the schema", "response.function_call_arguments.delta" in kinds
          and call.type == "function_call" and call.parsed_arguments["days"] in (1, 2, 3))
    history = [{"role": "user", "content": "Rain?"}, *final.output,
               {"type": "function_call_output", "call_id": call.call_id, "output": "12 mm"}]
    check("a response's output can be sent back", bool(ask(model=model, input=history, tools=weather, tool_choice="none",
                                                           max_output_tokens=2).id))
    for claim, fields in {"store": {"store": True}, "previous_response_id": {"previous_response_id": "resp_1"},
                          "background": {"background": True}, "a built-in tool": {"tools": [{"type": "web_search"}]}}.items():
        raises(f"{claim} is BadRequestError", openai.BadRequestError, 400, lambda: ask(model=model, input="x", **fields))
    raises("a stored response is NotFoundError", openai.NotFoundError, 404, lambda: client.responses.retrieve(whole.id))
    raises("nothing can be cancelled", openai.NotFoundError, 404, lambda: client.responses.cancel(whole.id))


def completions(client: openai.OpenAI, model: str) -> None:
    ask = client.completions.create
    whole = ask(model=model, prompt=["One, two,", "A, B,"], temperature=0, max_tokens=6, n=1)
    check("several prompts have a choice each", [c.index for c in whole.choices] == [0, 1] and whole.id.startswith("cmpl-"))
    chunks = list(ask(model=model, prompt="One, two,", temperature=0, max_tokens=6, stream=True))
    check("a streamed completion says the same", "".join(c.choices[0].text for c in chunks) == whole.choices[0].text)
    ids = ask(model=model, prompt="One, two,", max_tokens=1, extra_body={"return_token_ids": True}).choices[0].prompt_token_ids
    for tokens in (0, 1):
        scored = ask(model=model, prompt=[ids], max_tokens=tokens, echo=True, logprobs=1, temperature=0).choices[0]
        check(f"echo with max_tokens {tokens} scores the prompt", scored.text.startswith("One, two,")
              and len(scored.logprobs.tokens) == len(ids) + tokens and scored.logprobs.token_logprobs[0] is None
              and all(x <= 0 for x in scored.logprobs.token_logprobs[1:]))
    raises("a suffix is BadRequestError", openai.BadRequestError, 400, lambda: ask(model=model, prompt="x", suffix="y"))


def errors(client: openai.OpenAI, url: str, model: str, key: str) -> None:
    ask = client.chat.completions.create
    raises("an unknown model is NotFoundError", openai.NotFoundError, 404,
           lambda: ask(model="no-such-model", messages=question("x")))
    for claim, fields in {"a temperature of 9": {"temperature": 9}, "no messages": {"messages": []},
                          "more tokens than the context": {"max_tokens": 10**8},
                          "a broken image": {"messages": question("x", "data:image/png;base64,AAAA")},
                          "a remote image": {"messages": question("x", "http://example.invalid/x.png")}}.items():
        raises(f"{claim} is BadRequestError", openai.BadRequestError, 400,
               lambda: ask(**{"model": model, "messages": question("x"), **fields}))
    raises("an unknown path is NotFoundError", openai.NotFoundError, 404,
           lambda: client.embeddings.create(model=model, input="x"))
    if key != "EMPTY":
        stranger = openai.OpenAI(base_url=url, api_key="wrong", max_retries=0)
        raises("a wrong key is AuthenticationError", openai.AuthenticationError, 401, stranger.models.list)


def main() -> None:
    url, key = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "EMPTY"
    client = openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=120)
    models = client.models.list().data
    check("models are listed", len(models) > 0 and models[0].object == "model")
    model = models[0].id
    check("a model can be looked up", client.models.retrieve(model).id == model)
    answers(client, model)
    structured(client, model)
    tools(client, model)
    completions(client, model)
    if hasattr(client, "responses"):
        responses(client, model)
    errors(client, url, model, key)
    with client.chat.completions.create(model=model, messages=question("Count."), stream=True) as stream:
        next(iter(stream))  # then leave: the server must be free for the next request
    check("after a broken stream the server answers", bool(
        client.chat.completions.create(model=model, messages=question("Hello"), max_tokens=1).id))


if __name__ == "__main__":
    main()
