"""One option of a section: its default and its help."""

import dataclasses
from typing import Any


def option(default: Any, text: str, *, secret: bool = False) -> Any:
    return dataclasses.field(default=default, repr=not secret, metadata={"help": text})
