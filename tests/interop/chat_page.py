"""Uses the page of a running lamina-serve as a person would: python chat_page.py URL MODEL [--key KEY].

URL ends in /. Needs Chromium and its chromedriver (Debian: chromium, chromium-driver), which it drives over WebDriver, and
nothing else. Nothing but the server is reached. Exits with status 1 and the failed claim when one does not hold.
"""
import argparse
import base64
import json
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import zlib

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the name that WebDriver gives to references


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([200, 120, 40]) * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class Browser:
    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL)
        self.base = f"http://127.0.0.1:{port}"
        self.session = ""
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                   "--disable-background-networking", "--disable-component-update", "--window-size=1180,860", "--lang=en",
                   "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={self.profile.name}"]
        capabilities = {"alwaysMatch": {"goog:chromeOptions": {"args": options}}}
        for _ in range(100):
            try:
                self.session = "/session/" + self.ask("/session", capabilities=capabilities)["sessionId"]
                return
            except ConnectionError:
                time.sleep(0.1)
            except OSError:
                time.sleep(0.1)
        sys.exit("FAILED: chromedriver does not answer")

    def ask(self, path: str, **body):
        request = urllib.request.Request(self.base + self.session + path, json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)["value"]

    def run(self, script: str, *arguments):
        return self.ask("/execute/sync", script=script, args=list(arguments))

    def wait(self, claim: str, script: str, *arguments, seconds: float = 60):
        end = time.time() + seconds
        while time.time() < end:
            value = self.run("return " + script, *arguments)
            if value:
                return value
            time.sleep(0.1)
        check(claim, False)

    def element(self, selector: str) -> str:
        return self.ask("/element", using="css selector", value=selector)[ELEMENT]

    def type(self, selector: str, text: str) -> None:
        self.ask(f"/element/{self.element(selector)}/value", text=text)

    def click(self, selector: str) -> None:
        self.ask(f"/element/{self.element(selector)}/click")

    def set(self, selector: str, value: str) -> None:
        self.run("const at = document.querySelector(arguments[0]); at.value = arguments[1]; "
                 "at.dispatchEvent(new Event('change'));", selector, value)

    def close(self) -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(self.base + self.session, method="DELETE"), timeout=20).close()
        finally:
            self.driver.terminate()
            self.driver.wait()
            self.profile.cleanup()


def check(claim: str, holds) -> None:
    if not holds:
        sys.exit(f"FAILED: {claim}")
    print(f"ok: {claim}")


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
    if not shutil.which("chromedriver"):
        sys.exit("FAILED: chromedriver is not installed")
    page = Browser()
    try:
        use(page, options.url, options.model, options.key)
    finally:
        page.close()


main()
