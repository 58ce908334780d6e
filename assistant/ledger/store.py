"""Where the journal lives: one engine, its transactions, and its errors in words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from assistant.errors import JournalError
from assistant.ledger.schema import is_current, migrate

BUSY_SECONDS = 15
NETWORK_FILESYSTEMS = ("nfs", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb", "fuse", "afs", "panfs", "wekafs")


def default_url() -> str:
    """SQLite under the user's state directory (XDG Base Directory Specification: $XDG_STATE_HOME)."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return f"sqlite:///{Path(base) / 'slurm-assistant' / 'journal.db'}"


class Store:
    """An engine that is opened and migrated at its first transaction."""

    def __init__(self, url: str = "") -> None:
        self._url = url or default_url()
        self._engine: Engine | None = None

    @property
    def where(self) -> str:
        """The file, or the URL without its password."""
        return self._url.removeprefix("sqlite:///") if self._url.startswith("sqlite") else _shown(self._url)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction, committed at the end. Raises JournalError with the place and the remedy."""
        try:
            with self._opened().begin() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise self._error(error) from error

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _opened(self) -> Engine:
        if self._engine is None:
            engine = _engine(self._url)
            with engine.begin() as connection:
                if not is_current(connection):
                    migrate(connection)
            self._engine = engine
        return self._engine

    def _error(self, error: Exception) -> JournalError:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        return JournalError(
            f"the journal {self.where} cannot be used: {cause}; nothing is done that it cannot record",
            "make room there, make it writable, or point SASK_JOURNAL (a SQLAlchemy URL) at another place",
        )


def _shown(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "(an unreadable URL)"


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite":
            return create_engine(parsed, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise JournalError(
            f"the journal's URL {_shown(url)} cannot be used: {error}", "sqlite:///FILE or postgresql+psycopg://…"
        ) from None
    path = Path(parsed.database or "")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS})
    mode = "DELETE" if _on_network(path.parent) else "WAL"
    event.listen(engine, "connect", lambda raw, _: _prepare(raw, mode))
    event.listen(engine, "begin", _begin_immediate)
    if not path.exists():
        path.touch(mode=0o600)
    return engine


def _prepare(raw: Any, mode: str) -> None:
    """FULL: what was committed survives a power cut (sqlite.org/pragma.html#pragma_synchronous)."""
    raw.isolation_level = None  # transactions are ours, not the driver's
    for pragma in (f"journal_mode={mode}", "synchronous=FULL", "foreign_keys=ON"):
        raw.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    """Take the write lock at once: a reader that becomes a writer cannot wait for another (SQLITE_BUSY)."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _on_network(folder: Path) -> bool:
    """WAL needs shared memory, which a network file system does not have (sqlite.org/wal.html)."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return False
    inside = [(len(at), kind) for at, kind in mounts if folder.resolve().is_relative_to(at)]
    return bool(inside) and max(inside)[1].startswith(NETWORK_FILESYSTEMS)
