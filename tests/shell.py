"""The real command as a user types it: with a directory, a journal and settings of its own, on pipes or a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SASK = [sys.executable, "-m", "assistant.doors.cli"]
_THEIRS = ("SASK_", "NO_COLOR", "FORCE_COLOR", "COLUMNS")


class Shell:
    """``sask(…)`` runs the command to its end and makes sure that no traceback is shown."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_THEIRS)}
        self.env = {
            **inherited,
            "XDG_CONFIG_HOME": str(folder / "config"),
            "SASK_JOURNAL": f"sqlite:///{folder}/journal.db",
            "TERM": "xterm-256color",
            **env,
        }

    def __call__(self, *arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*SASK, *arguments],
            cwd=self.folder, env={**self.env, **env}, input=stdin, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert "Traceback" not in done.stderr + done.stdout
        return done

    def json(self, *arguments: str, **env: str) -> dict[str, Any]:
        return dict(json.loads(self(*arguments, **env).stdout))

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """On pipes, not waited for."""
        return subprocess.Popen(
            [*SASK, *arguments], cwd=self.folder, env={**self.env, **env}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def interrupt_reading(self, *arguments: str) -> tuple[int, str]:
        """Ctrl-C once the command has read part of its standard input: (exit code, standard error)."""
        process = self.start(*arguments)
        assert process.stdin
        process.stdin.write("half a line")
        process.stdin.flush()
        until(lambda: _unread(process) == 0)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        return process.returncode, said

    @contextmanager
    def terminal(self, *arguments: str, **env: str) -> Iterator[Terminal]:
        """On a terminal of its own; killed at the end if it still runs."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [*SASK, *arguments], cwd=self.folder, env={**self.env, **env}, start_new_session=True,
            stdin=theirs, stdout=theirs, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        terminal = Terminal(process, ours)
        try:
            yield terminal
        finally:
            process.kill()
            process.wait()
            terminal.reader.join()
            os.close(ours)


class Terminal:
    """What a program shows on its terminal, and the keys that it is given."""

    def __init__(self, process: subprocess.Popen[bytes], side: int) -> None:
        self.process = process
        self.side = side
        self.shown = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        try:
            while chunk := os.read(self.side, 4096):
                self.shown += chunk.decode(errors="replace")
        except OSError:  # the other side is closed: the program has ended
            return

    def wait_for(self, text: str) -> None:
        until(lambda: text in self.shown or self.process.poll() is not None)
        assert text in self.shown, self.shown

    def type(self, keys: str) -> None:
        os.write(self.side, keys.encode())

    def end(self) -> int:
        """The exit code, once all that was shown is read."""
        code = self.process.wait(timeout=60)
        self.reader.join(timeout=60)
        assert "Traceback" not in self.shown
        return code


def _unread(process: subprocess.Popen[str]) -> int:
    """Bytes in the pipe to its standard input (ioctl_pipe: FIONREAD)."""
    assert process.stdin
    return int.from_bytes(fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4)), sys.byteorder)


def until(true: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def queue() -> str:
    """What Slurm itself says is in the queue."""
    shown = ["squeue", "--noheader", "--sort=i", "--format=%i %j %T %D %l %P %q %a %r"]
    return subprocess.run(shown, capture_output=True, text=True, check=True).stdout


class ModelServer(ThreadingHTTPServer):
    """An OpenAI-compatible server that gives its answers in turn; after the last one it is silent."""

    daemon_threads = True

    def __init__(self, *answers: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.asked = 0
        self.hangs = threading.Event()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._say({"data": [{"id": "scripted"}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        if self.server.asked > len(self.server.answers):
            self.server.hangs.set()
            self.server.closing.wait()
            return
        text = self.server.answers[self.server.asked - 1]
        self._say({"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": {}})

    def _say(self, answer: dict[str, Any]) -> None:
        payload = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


@contextmanager
def model_server(*answers: str) -> Iterator[ModelServer]:
    """Answers in turn, then silence."""
    with ModelServer(*answers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
