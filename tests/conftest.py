"""Fixtures for every test."""

from __future__ import annotations

import signal
import weakref
from collections.abc import Iterator

import pytest
from hypothesis import settings

from assistant.ledger.store import Store

# a loaded machine is no failure: the tests assert what is true, not how fast
settings.register_profile("sask", deadline=None)
settings.load_profile("sask")

# what starts tests in the background makes them, and all that they start, deaf to Ctrl-C, which they are about
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.fixtures_sandbox"]


@pytest.fixture(autouse=True)
def journals_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A thousand cells of the fault matrix would otherwise keep a thousand databases open."""
    opened: weakref.WeakSet[Store] = weakref.WeakSet()
    begin = Store.__init__

    def noted(store: Store, url: str = "") -> None:
        begin(store, url)
        opened.add(store)

    monkeypatch.setattr(Store, "__init__", noted)
    yield
    for store in list(opened):
        store.close()
