"""Reads skops files, which run nothing but the constructors of types that are trusted."""

from pathlib import Path
from typing import Any

import skops.io

from scoreline.core.errors import NotFound, SealRefused


def read_skops(path: Path, *, trusted: bool) -> Any:
    """The object in a .skops file; `trusted` accepts types beyond those skops trusts. Raises NotFound, SealRefused."""
    if not path.is_file():
        raise NotFound(f"no model file at {path}")
    try:
        untrusted = skops.io.get_untrusted_types(file=path)
        if untrusted and not trusted:
            raise SealRefused(
                f"{path.name} holds types that skops does not trust: {', '.join(sorted(untrusted))}. Where you know "
                "who made it, --trust-pickle accepts them"
            )
        return skops.io.load(path, trusted=untrusted)
    except SealRefused:
        raise
    except Exception as error:  # the library raises many kinds, those of damaged zip files among them
        raise SealRefused(f"{path.name} cannot be read as skops ({type(error).__name__})") from None
