"""Asks a running lamina-serve with the official anthropic client: python anthropic_client.py URL [API_KEY].

URL has no /v1. Needs the package anthropic. Exits with status 1 and the failed claim when one does not hold.
"""
import sys

import anthropic


def check(claim: str, holds: bool) -> None:
    if not holds:
        sys.exit(f"FAILED: {claim}")
    print(f"ok: {claim}")


def main() -> None:
    client = anthropic.Anthropic(base_url=sys.argv[1], api_key=sys.argv[2] if len(sys.argv) > 2 else "EMPTY",
                                 max_retries=0, timeout=120)
    asked = {"model": client.models.list().data[0].id if hasattr(client, "models") else "nano", "max_tokens": 12,
             "extra_body": {"temperature": 0}, "messages": [{"role": "user", "content": "Hello"}]}
    whole = client.messages.create(**asked)
    check("an answer is a message", whole.type == "message" and whole.stop_reason in ("end_turn", "max_tokens")
          and 0 < whole.usage.output_tokens <= 12)
    with client.messages.stream(**asked) as stream:
        text = "".join(stream.text_stream)
        last = stream.get_final_message()
    check("a stream says the same", text == "".join(b.text for b in whole.content if b.type == "text")
          and last.usage.output_tokens == whole.usage.output_tokens and last.stop_reason == whole.stop_reason)
    check("tokens are counted", client.messages.count_tokens(model=asked["model"], messages=asked["messages"]).input_tokens
          == whole.usage.input_tokens)
    tool = {"name": "weather", "input_schema": {"type": "object", "properties": {"days": {"enum": [1, 2, 3]}},
                                                "required": ["days"]}}
    call = client.messages.create(**{**asked, "max_tokens": 400}, tools=[tool],
                                  tool_choice={"type": "tool", "name": "weather"}).content[-1]
    check("a tool is used with input of its schema", call.type == "tool_use" and call.input["days"] in (1, 2, 3))
    try:
        client.messages.create(**{**asked, "extra_body": {"temperature": 9}})
    except anthropic.BadRequestError as error:
        check("a mistake is BadRequestError", error.status_code == 400)
    else:
        check("a mistake is BadRequestError", False)


if __name__ == "__main__":
    main()
