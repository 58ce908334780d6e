"""``sask plan`` and ``sask "…"`` as programs use them: a real process, a real HTTP server that answers by script."""

from __future__ import annotations

from tests.scripted import *  # noqa: F403
