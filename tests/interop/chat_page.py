"""Uses the page of a running lamina-serve as a person would: python chat_page.py URL MODEL [--key KEY].

URL ends in /. Needs Chromium and its chromedriver (Debian: chromium, chromium-driver), which it drives over WebDriver, and
nothing else. Nothing but the server is reached. Exits with status 1 and the failed claim when one does not hold.
"""
import argparse
import base64
import struct
import tempfile
import zlib

from browser import Browser, check, with_browser


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([200, 120, 40]) * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


LAST = "document.querySelector('#talk').lastElementChild"


def ask(page: Browser, text: str) -> None:
    page.type("#prompt", text)
    page.click("#send")


def answered(page: Browser, claim: str) -> str:
    page.wait(claim, LAST + ".querySelectorAll('.answer[data-done]').length == " + LAST + ".querySelectorAll('.answer').length")
    return page.run("return " + LAST + ".innerText")


def drop(page: Browser, kind: str, target: str, holder: str) -> None:
    page.run("""const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0)), data = new DataTransfer();
                data.items.add(new File([bytes], "a.png", { type: "image/png" }));
                const event = new Event(arguments[1], { bubbles: true, cancelable: true });
                event[arguments[3]] = data;
                document.querySelector(arguments[2]).dispatchEvent(event);""",
             base64.b64encode(png(64, 48)).decode(), kind, target, holder)


def use(page: Browser, url: str, model: str, key: str) -> None:
    page.ask("/url", url=url)
    if key:
        page.wait("without a key the page says what is missing", "document.querySelector('#models').innerText.includes('Unauthorized')")
        page.set("#key", key)
    page.wait("the models are listed", "document.querySelector('#models input')")
    check("the first model is chosen", page.run("return document.querySelector('#models input:checked').value") == model)

    page.set("#max_tokens", "12")
    page.set("#temperature", "0")
    ask(page, "What is this? <img src=x onerror=\"window.hacked=1\">")
    text = answered(page, "a question is answered")
    check("the answer's rate and size are told", " ms" in text and " tokens" in text)
    check("what people write is text", page.run("return !window.hacked && !" + LAST + ".querySelector('img')"))

    drop(page, "drop", "#talk", "dataTransfer")
    drop(page, "paste", "#prompt", "clipboardData")
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(png(80, 60))
        file.flush()
        page.type("#files", file.name)
        page.wait("images are dropped, pasted and chosen", "document.querySelectorAll('#thumbs img').length == 3")
    page.click("#thumbs button")
    check("an image can be taken away again", page.run("return document.querySelectorAll('#thumbs img').length") == 2)
    ask(page, "And these?")
    text = answered(page, "two images are answered")
    check("both are shown with the question", page.run("return " + LAST + ".querySelectorAll('.asked img').length") == 2)
    check("no answer failed", page.run("return !document.querySelector('.answer.failed')"))

    page.set("#max_tokens", "700")
    ask(page, "Say much.")
    page.run("""const watch = setInterval(() => {
                  if (%s.querySelector('.text').textContent.length > 20) clearInterval(watch), document.querySelector('#stop').click();
                }, 1);""" % LAST)
    check("an answer can be stopped", "stopped" in answered(page, "it ends when it is stopped"))

    page.set("#temperature", "9")
    ask(page, "too hot")
    check("an error is told", "temperature" in answered(page, "a bad setting is answered"))
    page.set("#temperature", "")

    page.click("#language")
    check("the page speaks Chinese", page.run("return document.querySelector('#send').innerText") == "发送")
    page.click("#language")
    theme = page.run("return document.documentElement.dataset.theme")
    page.click("#theme")
    check("dark and light", page.run("return document.documentElement.dataset.theme") != theme)
    page.click("#clear")
    check("the talk can be cleared", page.run("return document.querySelector('#talk').children.length") == 0)
    check("nothing was fetched from elsewhere",
          page.run("return performance.getEntriesByType('resource').every((at) => at.name.startsWith(arguments[0]))", url))


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("url")
    arguments.add_argument("model")
    arguments.add_argument("--key", default="")
    options = arguments.parse_args()
    with_browser(lambda page: use(page, options.url, options.model, options.key))


main()
