"""What a door remembers across a restart: conversations, incidents. Small JSON documents, each under a name of its own,
in the journal's database and without secrets like all that is in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select

from assistant.ledger.journal import Journal
from assistant.ledger.redact import redacted
from assistant.ledger.schema import kept

_DAY = 86_400.0


@dataclass(frozen=True)
class Shelf:
    """``name`` is the door's. Every method raises JournalError."""

    journal: Journal
    name: str

    def put(self, name: str, value: dict[str, Any]) -> None:
        row = {"shelf": self.name, "name": name, "at": self.journal.clock(), "value": redacted(value)}
        with self.journal.store.transaction() as db:
            db.execute(delete(kept).where(kept.c.shelf == self.name, kept.c.name == name))
            db.execute(insert(kept).values(**row))

    def get(self, name: str) -> dict[str, Any] | None:
        with self.journal.store.transaction() as db:
            query = select(kept.c.value).where(kept.c.shelf == self.name, kept.c.name == name)
            found: dict[str, Any] | None = db.execute(query).scalar()
        return found

    def all(self) -> dict[str, dict[str, Any]]:
        """Oldest first."""
        with self.journal.store.transaction() as db:
            rows = db.execute(select(kept).where(kept.c.shelf == self.name).order_by(kept.c.at, kept.c.name)).all()
        return {row.name: row.value for row in rows}

    def drop(self, name: str) -> None:
        with self.journal.store.transaction() as db:
            db.execute(delete(kept).where(kept.c.shelf == self.name, kept.c.name == name))

    def forget(self, days: float) -> None:
        """Drop what was not put there for so long."""
        with self.journal.store.transaction() as db:
            old = kept.c.at < self.journal.clock() - days * _DAY
            db.execute(delete(kept).where(kept.c.shelf == self.name, old))
