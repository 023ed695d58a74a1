"""What a number of the record stands for: the way back from `Field.read`."""

import math
from collections.abc import Sequence

from scoreline.core.link import Floats
from scoreline.core.schema import Field, Scalar


def shown(field: Field, number: float) -> Scalar | None:
    """The value as a caller would send it, None for missing: `field.read(shown(field, x))[0]` is x again."""
    if math.isnan(number):
        return None
    if field.type == "category":
        return field.categories[int(number)]
    if field.type == "boolean":
        return bool(number)
    return int(number) if field.type == "integer" and math.isfinite(number) else number


def shown_column(field: Field, numbers: Floats) -> Sequence[Scalar | None] | Floats:
    """A whole column as `core.columns.read_table` takes it: numbers as they are, all else by `shown`."""
    if field.type in ("number", "integer"):
        return numbers
    return [shown(field, number) for number in numbers.tolist()]


def is_category(field: Field, number: float) -> bool:
    """Whether a number is the code of a category, or missing."""
    return math.isnan(number) or (0 <= number < len(field.categories) and number == math.floor(number))
