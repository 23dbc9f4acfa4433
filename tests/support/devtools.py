"""A headless Chromium driven by its DevTools protocol: open a page, press keys, ask it things."""

import base64
import contextlib
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--remote-allow-origins=*")
PATIENCE = 60.0


class Browser:
    """One Chromium with a profile of its own; `page` opens a tab in it."""

    def __init__(self, chromium: str, profile: Path) -> None:
        command = [chromium, *FLAGS, "--window-size=1200,900", f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port = profile / "DevToolsActivePort"
        wait(lambda: port.is_file() and port.read_text(encoding="utf-8").count("\n"), "Chromium opens its port")
        self._port = port.read_text(encoding="utf-8").splitlines()[0]
        self._pages: list[Page] = []

    def page(self, address: str) -> "Page":
        with urlopen(f"http://127.0.0.1:{self._port}/json/version", timeout=PATIENCE) as answer:
            root = Page(json.load(answer)["webSocketDebuggerUrl"])
        target = root.send("Target.createTarget", url="about:blank")["targetId"]
        root.close()
        page = Page(f"ws://127.0.0.1:{self._port}/devtools/page/{target}")
        self._pages.append(page)
        page.open(address)
        return page

    def close(self) -> None:
        for page in self._pages:
            page.close()
        self._process.terminate()
        self._process.wait(timeout=PATIENCE)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Page:
    def __init__(self, address: str) -> None:
        from websockets.sync.client import connect

        self._open = contextlib.ExitStack()
        connection = connect(address, max_size=None, open_timeout=PATIENCE, ping_interval=None)
        self._socket = self._open.enter_context(connection)
        self._count = 0

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=PATIENCE))
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def open(self, address: str) -> None:
        self.send("Page.navigate", url=address)

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of the promise that it gives."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """A key of one character, or one named as in `KeyboardEvent.key`."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        codes = {"Enter": 13, "Backspace": 8, "ArrowLeft": 37, "ArrowRight": 39, "ArrowDown": 40, "Escape": 27}
        common = {"key": key, "windowsVirtualKeyCode": codes.get(key, 0)}
        self.send("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def wait(self, expression: str) -> None:
        wait(lambda: self.ask(expression), expression)

    def picture(self, path: Path, *, dark: bool = False) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        self._open.close()


def wait(done: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, f"never came true: {what}"
        time.sleep(0.02)
