"""Names of things that are loaded only when they are wanted: `package.module:attribute`."""

import importlib
from typing import Any


def load(target: str) -> Any:
    """The attribute a name points to; raises ImportError where what it needs is not installed."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
