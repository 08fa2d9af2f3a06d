"""One page of a headless Chromium, for tests of web pages."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["DESKTOP", "NAMES", "PATH", "PHONE", "Browser"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATH = next(filter(None, map(shutil.which, NAMES)), "")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--mute-audio", "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-pipe",
)  # fmt: skip
PHONE, DESKTOP = 390, 1280
#: Windows' virtual key codes, which Chromium uses for keys.
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39,
        "ArrowDown": 40, "a": 65, "b": 66, "d": 68, " ": 32}  # fmt: skip


class Browser:
    """One page of a headless Chromium, driven by the DevTools protocol over a pipe."""

    def __init__(self, profile: Path) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        # Chromium reads commands from descriptor 3 and answers on 4; bash puts the pipes there.
        words = " ".join((PATH, *FLAGS, f"--user-data-dir={profile}", "about:blank"))
        script = f"exec {words} 3<&{theirs_in} 4>&{theirs_out}"
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", script], pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.reads, self.writes = os.fdopen(ours_in, "rb"), os.fdopen(ours_out, "wb")
        self.events: list[dict[str, Any]] = []
        self.number, self.rest, self.session = 0, b"", ""
        targets = self("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        attached = self("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send one command and return its answer; events before the answer are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.writes.write(json.dumps(message).encode() + b"\0")
        self.writes.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            piece = os.read(self.reads.fileno(), 1 << 16)
            assert piece, "Chromium ended"
            self.rest += piece
        message, _, self.rest = self.rest.partition(b"\0")
        return dict(json.loads(message))

    def wait(self, event: str) -> None:
        """Read until `event` came."""
        while not any(seen.get("method") == event for seen in self.events):
            self.events.append(self._next())

    def open(self, page: Path, width: int, height: int = 900) -> None:
        """Load a page in a window of `width` CSS pixels."""
        self.events.clear()
        self("Emulation.setDeviceMetricsOverride", width=width, height=height,
             deviceScaleFactor=1, mobile=width < 600)  # fmt: skip
        self("Page.navigate", url=page.as_uri())
        self.wait("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page, after its promises."""
        answer = self("Runtime.evaluate", expression=expression, awaitPromise=True,
                      returnByValue=True, userGesture=True)  # fmt: skip
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def shot(self, file: Path) -> None:
        """Write a PNG of the whole page."""
        answer = self("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(answer["data"]))

    def complaints(self) -> list[str]:
        """Return the errors, exceptions and console messages of the page."""
        found = []
        for event in self.events:
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(str(event["params"]["exceptionDetails"]))
            if event.get("method") == "Log.entryAdded":
                found.append(str(event["params"]["entry"]["text"]))
            if event.get("method") == "Runtime.consoleAPICalled":
                found.append(str(event["params"]["args"]))
        return found

    def asked(self) -> set[str]:
        """Return the URL schemes of all requests of the page."""
        return {
            event["params"]["request"]["url"].partition(":")[0]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        }

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press and release one key in the focused element."""
        text = "\r" if key == "Enter" else key if len(key) == 1 else ""
        for kind in ("keyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key, modifiers=8 * shift,
                 windowsVirtualKeyCode=KEYS[key], text=text)  # fmt: skip

    def mouse(self, kind: str, x: float, y: float, *, held: bool = False) -> None:
        """Move, press or release the mouse (`mouseMoved`, `mousePressed`, `mouseReleased`)."""
        self("Input.dispatchMouseEvent", type=kind, x=x, y=y, clickCount=1,
             button="left" if held or kind != "mouseMoved" else "none",
             buttons=1 if held or kind == "mousePressed" else 0)  # fmt: skip

    def middle(self, selector: str) -> tuple[float, float]:
        """Scroll an element into view, and return its middle in the window."""
        rect = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const r = e.getBoundingClientRect();"
            "return [r.left + r.width / 2, r.top + r.height / 2]; })()"
        )
        return rect[0], rect[1]

    def close(self) -> None:
        """End Chromium."""
        self("Browser.close")
        self.process.wait(20)
        self.reads.close()
        self.writes.close()
