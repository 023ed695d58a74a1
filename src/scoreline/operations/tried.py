"""Bundles that were tried out here: a trial that held is not repeated while the libraries are the same."""

import importlib.metadata
import json
import platform
from contextlib import suppress
from pathlib import Path
from typing import Final

from scoreline.operations.files import replace_text
from scoreline.operations.trial import try_out

_LIBRARIES: Final = ("scoreline", "numpy", "onnxruntime", "xgboost", "xgboost-cpu", "lightgbm")


def try_once(bundle: Path, digest: str, state_dir: Path) -> None:
    """Tries out a verified bundle, unless it held in this state folder before; raises BundleError.

    The mark names the libraries of that trial: with others the bundle is tried again.
    """
    mark, libraries = state_dir / "tried" / digest, _libraries()
    with suppress(OSError):
        if mark.read_text() == libraries:
            return
    try_out(bundle, digest)
    if state_dir.is_dir():
        with suppress(OSError):  # then the next one is tried again
            replace_text(mark, libraries)


def _libraries() -> str:
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return json.dumps(found, sort_keys=True)
