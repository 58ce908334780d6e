"""submit_job's fields as sbatch commands and scripts: what is shown, what is refused before Slurm sees it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.slurm.backend import Operation
from tools.slurm.cli import CliBackend, sbatch
from tools.slurm.cli.runner import option, shell_text
from tools.slurm.errors import (
    InvalidRequest,
)
from tools.slurm.sandbox import Sandbox


def test_no_value_becomes_an_option() -> None:
    fields = {"command": "true", "job_name": "--uid=0", "comment": "-n", "partition": "-x", "output": "--wrap=id"}
    words = sbatch.submission(fields).command
    assert words[:2] == ["sbatch", "--parsable"]
    assert {"--job-name=--uid=0", "--comment=-n", "--partition=-x", "--output=--wrap=id"} <= set(words)
    with pytest.raises(InvalidRequest):
        sbatch.submission({"script": "-x.sh"})
    with pytest.raises(InvalidRequest, match="NUL"):
        option("comment", "a\0b")
    for name in ("A B", "1A", "A=B", ""):
        with pytest.raises(InvalidRequest, match="variable"):
            sbatch.submission({"command": "true", "environment": {name: "x"}})
    with pytest.raises(InvalidRequest, match="colour"):
        sbatch.submission({"command": "true", "colour": "red"})


def test_containers_are_shown_and_refused_where_pyxis_is_not(sandbox: Sandbox) -> None:
    image = "nvcr.io/nvidia/pytorch:24.05-py3"
    fields = {
        "command": "true",
        "container_image": image,
        "container_mounts": "/data:/data",
    }
    operation = Operation("submit", "", fields)
    backend = CliBackend()
    [words] = backend.render(operation)
    assert f"--container-image={image}" in words and "--container-mounts=/data:/data" in words
    for ask in (lambda: backend.perform(operation), lambda: backend.test_submit(fields)):
        with pytest.raises(InvalidRequest, match="pyxis"):
            ask()


def test_the_script_is_the_command_verbatim() -> None:
    made = sbatch.submission({"command": "srun python a.py --x 'y z' | tee log", "modules": ["cuda/12.4", "nccl"]})
    assert made.script == (
        "#!/bin/bash -l\nmodule load cuda/12.4 nccl || exit 1\nsrun python a.py --x 'y z' | tee log\n"
    )
    assert "--job-name=a.py" in made.command


def test_lines_are_added_after_the_sbatch_lines() -> None:
    script = "#!/usr/bin/env bash\n#SBATCH -N2\n\n# why\nset -e\n#SBATCH --late\nrun\n"
    made = sbatch.submission({"script": script, "modules": ["m"]})
    assert made.script.splitlines()[3:6] == ["# why", "module load m || exit 1", "set -e"]
    with pytest.raises(InvalidRequest, match="shell script"):
        sbatch.submission({"script": "#!/usr/bin/python3\nprint()\n", "modules": ["m"]})


def test_a_script_path_is_looked_for_where_it_said(tmp_path: Path) -> None:
    for given, why in (("no.sh", "does not exist"), (".", "is a directory")):
        with pytest.raises(InvalidRequest, match=why) as caught:
            sbatch.submission({"script": given}, tmp_path)
        assert str(tmp_path) in caught.value.message
    (tmp_path / "plain.txt").write_text("hello")
    with pytest.raises(InvalidRequest, match="#!"):
        sbatch.submission({"script": "plain.txt"}, tmp_path)


def test_a_command_is_shown_as_one_would_type_it() -> None:
    text = shell_text(["sbatch", "--comment=two words"], "#!/bin/sh\nEOF\n")
    shown = subprocess.run(["sh", "-c", text.replace("sbatch", "cat", 1).replace("'--comment=two words'", "")],
                           capture_output=True, text=True, check=True)  # fmt: skip
    assert shown.stdout == "#!/bin/sh\nEOF\n"
    assert text.startswith("sbatch '--comment=two words' <<'EOF_'")
