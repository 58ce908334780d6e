"""Fixtures for every test."""

from __future__ import annotations

import signal

from hypothesis import settings

# a loaded machine is no failure: the tests assert what is true, not how fast
settings.register_profile("sask", deadline=None)
settings.load_profile("sask")

# what starts tests in the background makes them, and all that they start, deaf to Ctrl-C, which they are about
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.fixtures_sandbox"]
