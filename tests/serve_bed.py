"""A machine with scripted GPUs and a scripted vLLM: the real command meets them on its PATH."""

from __future__ import annotations

import io
import json
import os
import socket
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from assistant.doors.cli import main
from tests.shell import Shell

H100 = "{}, NVIDIA H100 80GB HBM3, 81559, 81079, 9.0"
T4 = "{}, Tesla T4, 15360, 14914, 7.5"
BROKEN = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running."  # noqa: E501
LIGHTNING = "nemotron-3.5-lightning"

FAKE_VLLM = """#!{python}
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
if sys.argv[1] == "--version":
    print({version!r})
    sys.exit({version_code})
with open({record!r}, "w") as out:
    json.dump({{"argv": sys.argv, "env": dict(os.environ)}}, out)
print("Loading safetensors checkpoint shards:  50% Completed", flush=True)
if {dies!r}:
    print("ValueError: the checkpoint is broken; api_key=abcdef0123456789", flush=True)
    sys.exit(3)
class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Health).serve_forever()
"""


@dataclass(frozen=True)
class Said:
    returncode: int
    stdout: str
    stderr: str


class Node:
    """A machine with scripted GPUs and a scripted vLLM, and the weights of a model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.record = folder / "vllm.json"
        env = {"PATH": str(self.bin), "XDG_STATE_HOME": str(folder / "state"), "HF_HOME": str(folder / "hf")}
        self.sask = Shell(folder, **env)
        for name in ("CUDA_VISIBLE_DEVICES", "HF_HUB_CACHE"):
            self.sask.env.pop(name, None)
        self.smi(*[H100.format(n) for n in range(2)])
        self.vllm()

    def smi(self, *lines: str, code: int = 0) -> None:
        text = "\n".join(lines)
        (self.folder / "smi.txt").write_text(text + "\n")
        lines = f'while IFS= read -r line; do echo "$line"; done < {self.folder}/smi.txt'
        self._program("nvidia-smi", f"#!/bin/sh\n{lines}\nexit {code}\n")

    def vllm(self, version: str = "0.33.0", version_code: int = 0, dies: bool = False) -> None:
        script = FAKE_VLLM.format(
            python=sys.executable, version=version, version_code=version_code, record=str(self.record), dies=dies
        )
        self._program("vllm", script)

    def _program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def weights(self, gb: float = 22.0, *, lose: str = "") -> Path:
        """Sparse files with an index, as a hub lays them out."""
        folder = self.folder / "weights"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text("{}")
        names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {n: n for n in names}}))
        for name in names:
            if name != lose:
                with (folder / name).open("wb") as out:
                    out.truncate(int(gb * 1e9 / 2))
        return folder

    def serve(self, *options: str, profile: str = LIGHTNING, **env: str) -> Said:
        """The command in this process, which is quicker than one of its own."""
        with pytest.MonkeyPatch.context() as patch:
            for name in os.environ.keys() - self.sask.env.keys():
                patch.delenv(name)
            for name, value in {**self.sask.env, **env}.items():
                patch.setenv(name, value)
            patch.chdir(self.folder)
            out, err = io.StringIO(), io.StringIO()
            with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
                main(["serve", profile, *options])
        return Said(int(end.value.code or 0), out.getvalue(), err.getvalue())

    @property
    def started(self) -> dict[str, Any]:
        return dict(json.loads(self.record.read_text()))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
