"""The journal's tables and their migrations, in SQLAlchemy Core: the same on SQLite and PostgreSQL.

runs ─< calls ─< items, and approvals and events beside them; what doors keep stands apart. Times are seconds since the
epoch, so that neither a time zone nor a change of it touches them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    insert,
    inspect,
    select,
    text,
)

from assistant.errors import JournalError

metadata = MetaData()

schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("applied", Double, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("request", Text, nullable=False),
    Column("user", String(200), nullable=False),
    Column("level", String(20), nullable=False),
    Column("cluster", String(200), nullable=False),
    Column("created", Double, nullable=False, index=True),
    Column("owner", String(200), nullable=False, default=""),
    Column("claimed", Double, nullable=False, default=0.0),
)
"""``owner`` is the process that works on it (empty: nobody), ``claimed`` when it last wrote."""

calls = Table(
    "calls",
    metadata,
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("batch", Integer, nullable=False),
    Column("tool", String(100), nullable=False),
    Column("arguments", JSON, nullable=False),
    Column("state", String(10), nullable=False),
    Column("status", String(10), nullable=False, default=""),
    Column("data", JSON, nullable=False),
    Column("commands", JSON, nullable=False),
    Column("plan", JSON, nullable=False),
    Column("started", Double),
    Column("ended", Double),
)
"""``batch`` is the seq of the first call of its Action (what ``$1`` counts from); ``state`` waiting, open or done."""

items = Table(
    "items",
    metadata,
    Column("run", String(32), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("key", String(100), nullable=False, unique=True),
    Column("verb", String(20), nullable=False),
    Column("target", Text, nullable=False),
    Column("fields", JSON, nullable=False),
    Column("state", String(10), nullable=False),
    Column("id", Text, nullable=False),
    Column("outcome", String(10), nullable=False, default=""),
    Column("message", Text, nullable=False, default=""),
    Column("code", String(100)),
    Column("transient", Boolean, nullable=False, default=False),
    Column("intended", Double),
    Column("settled", Double),
    ForeignKeyConstraint(["run", "seq"], ["calls.run", "calls.seq"]),
)
"""``state`` planned (nothing sent), started (the intent is written; it may have been sent) or done."""

approvals = Table(
    "approvals",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("run", String(32), ForeignKey("runs.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("preview", JSON, nullable=False),
    Column("state", String(10), nullable=False),
    Column("approver", String(200), nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("decided", Double),
    Column("used", Double),
    Index("approvals_of_run", "run", "seq"),
)
"""``state`` pending, approved, denied, expired or used."""

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run", String(32), ForeignKey("runs.id"), nullable=False, index=True),
    Column("seq", Integer, nullable=False, default=0),
    Column("at", Double, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("detail", JSON, nullable=False),
)

kept = Table(
    "kept",
    metadata,
    Column("shelf", String(40), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("at", Double, nullable=False),
    Column("value", JSON, nullable=False),
)
"""What a door remembers across a restart: see :mod:`assistant.ledger.shelf`."""

Migration = Callable[[Connection], None]


def _first(connection: Connection) -> None:
    metadata.create_all(connection)


def _shelves(connection: Connection) -> None:
    kept.create(connection, checkfirst=True)  # a new journal has it already


MIGRATIONS: tuple[Migration, ...] = (_first, _shelves)
"""Oldest first; the number of a migration is the schema version that it leads to. Never edit one that was released."""


def migrate(connection: Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Bring the journal to the newest schema. Raises JournalError where it is newer than this program."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(7367843)"))
    schema_version.create(connection, checkfirst=True)
    at = max((row.version for row in connection.execute(select(schema_version))), default=0)
    if at > len(migrations):
        raise JournalError(
            f"the journal has schema {at}, this program knows {len(migrations)}", "upgrade slurm-assistant"
        )
    for number, migration in enumerate(migrations[at:], at + 1):
        migration(connection)
        connection.execute(insert(schema_version).values(version=number, applied=time.time()))


def is_current(connection: Connection) -> bool:
    """Whether there is nothing to migrate, found without a lock."""
    if not inspect(connection).has_table("schema_version"):
        return False
    return max((row.version for row in connection.execute(select(schema_version))), default=0) == len(MIGRATIONS)
