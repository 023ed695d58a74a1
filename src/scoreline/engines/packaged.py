"""Shared libraries inside installed Python packages, loaded without importing the package around them."""

import ctypes
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from scoreline.core.errors import NotFound


def load_packaged(package: str, names: Sequence[str]) -> ctypes.CDLL:
    """The first of the named files in the package's `lib` folder; raises NotFound with what to install."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for name in names:
            path = Path(folder) / "lib" / name
            if path.exists():
                return ctypes.CDLL(str(path))
    raise NotFound(f"this bundle needs the library of {package}: install scoreline[{package}]")
