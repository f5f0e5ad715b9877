"""A Chromium without a window, driven over WebDriver, for tests of pages. Needs Chromium and its chromedriver (Debian: chromium,
chromium-driver) and nothing else; no host but 127.0.0.1 is reached.
"""
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the name that WebDriver gives to references


def check(claim: str, holds) -> None:
    if not holds:
        sys.exit(f"FAILED: {claim}")
    print(f"ok: {claim}")


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


def with_browser(use) -> None:
    """Calls use(browser), and ends the browser."""
    if not shutil.which("chromedriver"):
        sys.exit("FAILED: chromedriver is not installed")
    browser = Browser()
    try:
        use(browser)
    finally:
        browser.close()
