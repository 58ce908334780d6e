"""BFCL's own checker, unchanged, from an installed ``bfcl-eval``: neither its clients nor its pins are needed.

The checker asks one thing of its table of models, whether dots in names of functions were replaced. That table imports
the client of every vendor, so an entry that says "no" stands in for it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from assistant.errors import ConfigError
from evals.bfcl.cases import Asked

PACKAGE, MODEL = "bfcl_eval", "sask"
INSTALL = "pip install --no-deps --target DIR bfcl-eval, then PYTHONPATH=DIR sask eval bfcl"
Calls = list[dict[str, dict[str, Any]]]
"""What BFCL reads: one {function: arguments} for each call."""


@dataclass(frozen=True)
class Checker:
    """``data`` is the package's folder of cases; ``version`` its own."""

    data: Path
    version: str
    ast_checker: Callable[..., dict[str, Any]]
    python: Any

    def __call__(self, case: Asked, calls: Calls) -> str:
        """Empty for what BFCL takes as right, else why not, in its words."""
        if not case.truth:
            return "something was called" if calls else ""  # its rule for irrelevance
        found = self.ast_checker(list(case.functions), calls, list(case.truth), self.python, case.category, MODEL)
        return "" if found["valid"] else str(found.get("error_type") or "invalid")


def checker() -> Checker:
    """Raises ConfigError where ``bfcl-eval`` is not installed, or is one that we cannot use."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("bfcl-eval is not installed", INSTALL)
    table = ModuleType(f"{PACKAGE}.constants.model_config")
    table.MODEL_CONFIG_MAPPING = {MODEL: SimpleNamespace(underscore_to_dot=False)}  # type: ignore[attr-defined]
    sys.modules.setdefault(table.__name__, table)
    try:
        ast = importlib.import_module(f"{PACKAGE}.eval_checker.ast_eval.ast_checker")
        enums = importlib.import_module(f"{PACKAGE}.constants.enums")
    except ImportError as error:
        raise ConfigError(f"bfcl-eval cannot be used: {error}", INSTALL) from error
    return Checker(
        Path(spec.submodule_search_locations[0]) / "data", _version(), ast.ast_checker, enums.Language.PYTHON
    )


def _version() -> str:
    try:
        return version("bfcl-eval")
    except PackageNotFoundError:  # a folder on the path, without its metadata
        return ""
