"""A real headless Chromium for tests, spoken to over a pipe: no driver, no port, no network.

The protocol is Chrome's DevTools protocol; with ``--remote-debugging-pipe`` messages are JSON ended by a zero byte,
read by the browser from file descriptor 3 and written to 4.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
SHELL = 'in=$1 out=$2; shift 2; exec "$@" 3<&"$in" 4>&"$out"'
PATIENCE = 120.0
"""Seconds that a busy machine may take for one answer."""


class Browser:
    """One page. ``asked`` are the addresses that it requested, ``complaints`` what it wrote to its console."""

    def __init__(self, profile: Path) -> None:
        program = next(filter(None, map(shutil.which, NAMES)), None)
        assert program, f"none of {', '.join(NAMES)} is installed; Debian: apt-get install chromium-headless-shell"
        theirs, ours_out = map(_high, os.pipe())
        ours_in, theirs_out = map(_high, os.pipe())
        argv = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--remote-debugging-pipe", f"--user-data-dir={profile}"]  # fmt: skip
        self.process = subprocess.Popen(
            ["bash", "-c", SHELL, "bash", str(theirs), str(theirs_out), *argv],
            pass_fds=(theirs, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs)
        os.close(theirs_out)
        self._in, self._out, self._number = ours_in, ours_out, 0
        self._bytes = b""
        self._session: dict[str, str] = {}
        self._loaded = False
        self.asked: list[str] = []
        self.complaints: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._out)  # the end of its pipe is its order to leave
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self._in)

    def open(self, path: Path, fragment: str = "") -> None:
        """Waits until the page is loaded and its script has run."""
        self._loaded = False
        self.send("Page.navigate", url=path.absolute().as_uri() + (f"#{fragment}" if fragment else ""))
        while not self._loaded:
            self._read()

    def ask(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression, awaited."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Waits in the page until a JavaScript expression holds."""
        self.ask(f"new Promise(done => {{ const look = () => ({condition}) ? done() : setTimeout(look, 5); look() }})")

    def press(self, key: str, text: str = "") -> None:
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "/": 191}
        about = {"key": key, "windowsVirtualKeyCode": codes.get(key, ord(key[0].upper()))}
        self.send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **about)
        self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    def type(self, text: str) -> None:
        self.send("Input.insertText", text=text)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its answer; events on the way are noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params, **self._session}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._bytes:
            ready, _, _ = select.select([self._in], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser says nothing"
            piece = os.read(self._in, 1 << 20)
            assert piece, "the browser is gone"
            self._bytes += piece
        line, _, self._bytes = self._bytes.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, params: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        elif event == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"]["text"])


def _high(descriptor: int) -> int:
    """The same file under a number that 3 and 4 do not collide with."""
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return high
