"""Unpickles models with joblib, where the trainer says that the file is trusted: a pickle runs what its maker wants."""

from pathlib import Path
from typing import Any

import joblib

from scoreline.core.errors import NotFound, SealRefused


def read_pickle(path: Path, *, trusted: bool) -> Any:
    """The object in a file of pickle, cloudpickle or joblib; raises NotFound, or SealRefused with no byte read."""
    if not trusted:
        raise SealRefused(
            f"{path.name} is a pickle, and nothing is unpickled: whoever made it could run anything here. Save the "
            "model with skops, or with its own library; --trust-pickle opens it all the same"
        )
    if not path.is_file():
        raise NotFound(f"no model file at {path}")
    try:
        return joblib.load(path)
    except Exception as error:  # anything may be raised by what a pickle runs
        raise SealRefused(f"{path.name} cannot be unpickled here ({type(error).__name__})") from None
