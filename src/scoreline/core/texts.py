"""What the text of a CSV cell says, field by field; an empty text is a missing value."""

import math
import re
from typing import Final

from scoreline.core.schema import EXACT_INTEGER_MAX, Field

_NUMBER: Final = re.compile(
    r"[ \t]*[+-]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|infinity|nan)[ \t]*", re.IGNORECASE | re.ASCII
)
_INTEGER: Final = re.compile(r"[ \t]*[+-]?[0-9]{1,400}[ \t]*")
_BOOLEANS: Final = {"true": True, "false": False}


def text_value(field: Field, text: str) -> object:
    """What a cell says, as `Schema.row` takes it; a text that says nothing of the kind stays a text.

    Numbers are decimals in ASCII, blanks around them are passed over, and "nan" is missing. True and false may be in
    any case.
    """
    if not text:
        return None
    if field.type == "boolean":
        return _BOOLEANS.get(text.lower(), text)
    if field.type == "category":
        return text if isinstance(field.categories[0], str) else _integer(text)
    if not _NUMBER.fullmatch(text):
        return text
    number = float(text)
    if field.type == "integer" and EXACT_INTEGER_MAX <= abs(number) < math.inf:
        return _integer(text)  # rounded, it might pass for one that can be held exactly
    return None if number != number else number


def _integer(text: str) -> int | str:
    return int(text) if _INTEGER.fullmatch(text) else text
