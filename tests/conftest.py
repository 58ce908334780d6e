"""Fixtures for every test."""

from __future__ import annotations

from hypothesis import settings

# a loaded machine is no failure: the tests assert what is true, not how fast
settings.register_profile("sask", deadline=None)
settings.load_profile("sask")

pytest_plugins = ["tests.fixtures_sandbox"]
