"""JSON as JSON is: no key twice, no NaN or Infinity, no surprises of depth or size."""

import json
import math
from codecs import BOM_UTF8
from functools import cache, partial
from typing import Any, Final

Body = bytes | bytearray
_LONG: Final = 400


def strict_json(raw: Body, *, finite: bool = True, nan_is_null: bool = False) -> Any:
    """The value of a JSON text in UTF-8; raises ValueError with a problem that repeats nothing of the text.

    With `finite` a number too large for float64 is refused too; without, it becomes infinite for the caller to name.
    `nan_is_null` is for callers whose own library writes a missing number as NaN.
    """
    if raw.startswith(BOM_UTF8):
        raise ValueError("it begins with a byte order mark (BOM); send the text alone")
    try:
        return _decoder(finite, nan_is_null).decode(raw.decode())
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{error.msg[0].lower()}{error.msg[1:]} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise ValueError("it nests too deep") from None


@cache
def _decoder(finite: bool, nan_is_null: bool) -> json.JSONDecoder:
    """Made once: each new one leaves names in CPython's cache of attributes, until its 4,096 places are full."""
    return json.JSONDecoder(
        object_pairs_hook=_pairs,
        parse_float=_finite if finite else float,
        parse_int=partial(_integer, finite=finite),
        parse_constant=_nan_as_null if nan_is_null else _constant,
    )


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) != len(items):
        raise ValueError("a key stands twice in one object")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is not finite")
    return value


def _integer(text: str, *, finite: bool) -> float:
    """An integer; one beyond float64 is as little finite as 1e999."""
    if len(text) < _LONG:
        return int(text)
    return _finite(text) if finite else float(text)


def _nan_as_null(name: str) -> None:
    if name != "NaN":
        _constant(name)


def _constant(_: str) -> float:
    raise ValueError("NaN and Infinity are not JSON; send null where a value is missing")
