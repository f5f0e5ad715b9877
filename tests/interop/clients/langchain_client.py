"""Asks a running lamina-serve through LangChain: python langchain_client.py URL [API_KEY].

URL ends in /v1. Needs the package langchain-openai. Exits with status 1 and the failed claim when one does not hold.
"""
import sys

import pydantic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


class Reading(pydantic.BaseModel):
    """A value that a gauge shows."""
    unit: str = pydantic.Field(pattern="^(mm|bar)$")
    value: int = pydantic.Field(ge=0, le=9)


@tool
def weather(days: int) -> str:
    """How the weather will be."""
    return f"rain for {days} days"


def check(claim: str, holds: bool) -> None:
    if not holds:
        sys.exit(f"FAILED: {claim}")
    print(f"ok: {claim}")


def tools(chat: ChatOpenAI, api: str) -> None:
    bound = chat.bind_tools([weather], tool_choice="weather", parallel_tool_calls=False)
    answer = bound.invoke("Rain?")
    call = answer.tool_calls[0]
    check(f"{api}: bind_tools gives a call with arguments of its schema", call["name"] == "weather"
          and isinstance(call["args"]["days"], int))
    streamed = None
    for chunk in bound.stream("Rain?"):
        streamed = chunk if streamed is None else streamed + chunk
    check(f"{api}: a streamed call has its arguments", isinstance(streamed.tool_calls[0]["args"]["days"], int))
    history = [HumanMessage("Rain?"), answer, ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])]
    check(f"{api}: a call and its result can be sent back", bool(chat.bind(max_tokens=4).invoke(history).id))


def main() -> None:
    url, key = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "EMPTY"
    common = {"base_url": url, "api_key": key, "model": "nano", "max_tokens": 400, "temperature": 1, "max_retries": 0,
              "extra_body": {"seed": 3}}
    for api, chat in {"chat": ChatOpenAI(**common), "responses": ChatOpenAI(**common, use_responses_api=True)}.items():
        answer = chat.invoke("Hello")
        check(f"{api}: an answer has text and usage", isinstance(answer.text, str) and answer.usage_metadata["output_tokens"] > 0)
        text = "".join(chunk.text for chunk in chat.stream("Hello"))
        check(f"{api}: a stream says the same", text == answer.text)
        tools(chat, api)
        for method in ("json_schema", "function_calling"):
            value = chat.with_structured_output(Reading, method=method).invoke("Read the gauge.")
            check(f"{api}: with_structured_output by {method} gives a value of the class", isinstance(value, Reading))
    raw = ChatOpenAI(**common).with_structured_output(Reading, method="json_mode", include_raw=True).invoke("JSON, please.")
    check("json_mode is answered", raw["raw"].id is not None)


if __name__ == "__main__":
    main()
