"""Render the sandbox's configuration files from the templates beside this module."""

from __future__ import annotations

import os
import pwd
import secrets
import socket
from importlib.resources import files
from pathlib import Path
from string import Template

from tools.slurm.sandbox.layout import NODES, Layout, Ports

_ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={munge_socket}
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu,{typed},license/matlab,license/ansys
AccountingStoreFlags=job_comment,job_script,job_env"""


def write_config(layout: Layout, ports: Ports, version: tuple[int, int], *, accounting: bool, rest: bool) -> bool:
    """Write every file that the daemons read; True when something differs from what was there.

    `version` is Slurm's (major, minor): from 23.11 on `cgroup.conf` can switch cgroups off, which
    a machine without a delegated cgroup needs (cgroup.conf(5), CgroupPlugin).
    """
    values = _values(layout, ports, accounting=accounting, rest=rest)
    texts = {
        layout.conf: (_render("slurm.conf", values), 0o644),
        layout.run / "gres.conf": (_gres(layout), 0o644),
        layout.run / "topology.conf": (_render("topology.conf", values), 0o644),
        layout.run / "cgroup.conf": (f"CgroupPlugin={'disabled' if version >= (23, 11) else 'cgroup/v1'}\n", 0o644),
    }
    if accounting:
        texts[layout.dbd_conf] = (_render("slurmdbd.conf", values), 0o600)
    changed = [_write(path, text, mode) for path, (text, mode) in texts.items()]
    _touch_devices(layout)
    _create_keys(layout)
    return any(changed)


def owner() -> str:
    """The login name that runs the daemons: the person who starts the sandbox."""
    return pwd.getpwuid(os.geteuid()).pw_name


def _values(layout: Layout, ports: Ports, *, accounting: bool, rest: bool) -> dict[str, str]:
    host = socket.gethostname().split(".")[0]
    jwt = f"AuthAltTypes=auth/jwt\nAuthAltParameters=jwt_key={layout.jwt_key}" if rest else ""
    kinds = sorted({kind for node in NODES for kind, _ in node.gpus})
    storage = _ACCOUNTING.format(
        munge_socket=layout.munge_socket, port=ports.slurmdbd, typed=",".join(f"gres/gpu:{kind}" for kind in kinds)
    )
    return {
        "host": host,
        "communication": "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny" if _named_loopback() else "",
        "user": owner(),
        "ctld_port": str(ports.slurmctld),
        "dbd_port": str(ports.slurmdbd),
        "munge_socket": str(layout.munge_socket),
        "state": str(layout.controller_state),
        "run": str(layout.run),
        "log": str(layout.root / "log"),
        "jwt": jwt,
        "accounting": storage if accounting else "AccountingStorageType=accounting_storage/none",
        "nodes": "\n".join(
            f"NodeName={node.name} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports.slurmd(node.name)} "
            f"Sockets=2 CoresPerSocket=32 ThreadsPerCore=1 RealMemory=1031000 "
            f"Gres={node.gres} Feature={','.join(node.features)} State=UNKNOWN"
            for node in NODES
        ),
    }


def _named_loopback() -> bool:
    # With these options Slurm binds to what the host's own name resolves to. Only when that is the
    # address in NodeAddr do srun and slurmd meet; elsewhere munge alone guards the ports.
    try:
        return socket.gethostbyname(socket.gethostname()) == "127.0.0.1"
    except OSError:
        return False


def _render(name: str, values: dict[str, str]) -> str:
    source = files("tools.slurm.sandbox").joinpath("templates", name).read_text(encoding="utf-8")
    return Template(source).substitute(values)


def _gres(layout: Layout) -> str:
    # slurmd counts the device files; with Count= alone it reports none and the node goes "inval".
    lines = ["AutoDetect=off"]
    for node in NODES:
        first = 0
        for kind, count in node.gpus:
            devices = f"{layout.devices}/nvidia[{first}-{first + count - 1}]"
            lines.append(f"NodeName={node.name} Name=gpu Type={kind} File={devices}")
            first += count
    return "\n".join(lines) + "\n"


def _touch_devices(layout: Layout) -> None:
    most = max(sum(count for _, count in node.gpus) for node in NODES)
    for number in range(most):
        (layout.devices / f"nvidia{number}").touch()


def _create_keys(layout: Layout) -> None:
    for path, size in ((layout.munge_key, 128), (layout.jwt_key, 32)):
        if not path.exists():
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as key:
                key.write(secrets.token_bytes(size))


def _write(path: Path, text: str, mode: int) -> bool:
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    path.touch(mode=mode)
    path.chmod(mode)
    path.write_text(text, encoding="utf-8")
    return True
