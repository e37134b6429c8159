"""A real Chromium, spoken to by its DevTools protocol over a pipe; tests that ask for it skip where there is none."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services import lacking

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
)
PATIENCE_S = 30
NAMED_KEYS = {"Enter": ("Enter", 13, "\r"), "Escape": ("Escape", 27, ""), "Tab": ("Tab", 9, "")}


class Browser:
    """A browser that was started, and the messages that go to and fro."""

    def __init__(self, program: str, profile: Path) -> None:
        to_browser, self._requests = os.pipe()
        self._answers, from_browser = os.pipe()
        start = f'exec 3<&{to_browser} 4>&{from_browser}; exec "$@"'
        words = [program, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        inherited = (to_browser, from_browser)
        self._process = subprocess.Popen(["bash", "-c", start, "-", *words], pass_fds=inherited, **quiet)
        for handle in inherited:
            os.close(handle)
        self._number, self._rest = 0, b""

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command, and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self._requests, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            pass
        assert "error" not in answer, (method, answer)
        return dict(answer["result"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._answers, 1 << 16)
            assert part, "the browser has ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))

    def page(self, width: int = 1280, height: int = 900) -> "Page":
        """Open a page in a window of its own, which shares nothing with others."""
        context = self.ask("Target.createBrowserContext")["browserContextId"]
        target = self.ask("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        page = Page(self, self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        page.resize(width, height)
        return page

    def end(self) -> None:
        """End the browser."""
        self._process.terminate()
        self._process.wait(PATIENCE_S)
        os.close(self._requests)
        os.close(self._answers)


class Page:
    """One page."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.ask(method, self._session, **parameters)

    def resize(self, width: int, height: int) -> None:
        """Give the page the size of a window, or of a phone."""
        self._ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )

    def open(self, url: str) -> None:
        """Go to an address."""
        self._ask("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        """Evaluate JavaScript in the page."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression: str, wanted: Any = True) -> None:
        """Wait until an expression has a value; what it has instead is the failure's message."""
        end = time.monotonic() + PATIENCE_S
        while (found := self._try(expression)) != wanted:
            assert time.monotonic() < end, f"{expression}: {found!r}, not {wanted!r}"
            time.sleep(0.05)

    def _try(self, expression: str) -> Any:
        """Evaluate while the page may still load."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value") if "exceptionDetails" not in answer else answer["exceptionDetails"]["text"]

    def press(self, *keys: str) -> None:
        """Press keys, one after the other: a sign, or a key by its name."""
        for key in keys:
            name, code, text = NAMED_KEYS[key] if key in NAMED_KEYS else (key, ord(key.upper()), key)
            said = {"key": name, "windowsVirtualKeyCode": code, **({"text": text} if text else {})}
            self._ask("Input.dispatchKeyEvent", type="keyDown", **said)
            self._ask("Input.dispatchKeyEvent", type="keyUp", key=name, windowsVirtualKeyCode=code)

    def write(self, text: str) -> None:
        """Write into what has the focus."""
        self._ask("Input.insertText", text=text)

    def picture(self, path: Path) -> None:
        """Keep what the page looks like."""
        path.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot")["data"]))


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start a browser."""
    program = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if program is None:
        lacking("no Chromium on the PATH")
    browser = Browser(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.end()
