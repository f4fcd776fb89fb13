"""A headless Chromium, driven through its DevTools protocol over a pair of pipes: no driver, no port, no package."""

import fcntl
import json
import os
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
FLAGS = [
    *["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
    *["--hide-scrollbars", "--disable-extensions", "--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe"],
]


def find() -> str | None:
    """The path of a Chromium; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One tab, and all that it has reported."""

    def __init__(self, commands: int, answers: int) -> None:
        self.commands, self.answers = os.fdopen(commands, "wb", 0), os.fdopen(answers, "rb", 0)
        self.events: list[dict[str, Any]] = []
        self.number, self.rest, self.session = 0, b"", ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """Send a command; its result, once it is there. What comes before it is kept as an event."""
        self.number += 1
        command = {"id": self.number, "method": method, "params": params}
        session = {"sessionId": self.session} if self.session else {}
        self.commands.write(json.dumps(command | session).encode() + b"\0")
        while (message := self.receive()).get("id") != self.number:
            self.events.append(message)
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    def receive(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            piece = os.read(self.answers.fileno(), 1 << 16)
            assert piece, "the browser has ended"
            self.rest += piece
        line, _, self.rest = self.rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def open(self, path: Path, width: int, *, dark: bool = False) -> None:
        """Load a file in a window of `width` px, and wait until all of it is there."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.as_uri())
        self.ask("new Promise(done => document.readyState == 'complete' ? done() : addEventListener('load', done))")

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def shoot(self, path: Path) -> None:
        """A PNG of the whole page."""
        path.write_bytes(b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def all(self, method: str) -> list[dict[str, Any]]:
        """The params of the events of one kind so far."""
        return [event["params"] for event in self.events if event.get("method") == method]


@contextmanager
def page(executable: str, profile: Path) -> Iterator[Page]:
    """A browser of its own, with a new profile; it ends with the block."""
    # Chromium reads commands from descriptor 3 and answers on 4; those of pytest may be there, so begin above them.
    (command_end, ours), (hears, answer_end) = os.pipe(), os.pipe()
    theirs, says = (fcntl.fcntl(end, fcntl.F_DUPFD, 100) for end in (command_end, answer_end))
    start = f'exec "$@" 3<&{theirs} 4>&{says}'
    command = ["bash", "-c", start, "bash", executable, *FLAGS, f"--user-data-dir={profile}"]
    process = subprocess.Popen(command, pass_fds=(theirs, says), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for end in (command_end, answer_end, theirs, says):
        os.close(end)
    try:
        tab = Page(ours, hears)
        yield tab
        tab.commands.close()
        tab.answers.close()
    finally:
        process.terminate()
        process.wait(10)
