"""What a setting was given as, in TOML, the environment or a flag, as a value of the type of its default."""

import math
from typing import Any, Final

_BOOLEANS: Final = {"true": True, "false": False}


def typed(default: Any, given: Any) -> Any:
    """The value; raises ValueError that says in words what it should be, without what it was."""
    if isinstance(default, tuple):
        return _numbers(given) if default and isinstance(default[0], float) else _texts(given)
    if isinstance(default, bool):
        return _boolean(given)
    if isinstance(default, int):
        return _whole(given)
    if isinstance(default, float):
        return _number(given, "a number")
    if not isinstance(given, str):
        raise ValueError("a text")
    return given


def _texts(given: Any) -> tuple[str, ...]:
    values = given.split(",") if isinstance(given, str) else given
    if isinstance(values, list | tuple) and all(isinstance(item, str) for item in values):
        return tuple(item.strip() for item in values if item.strip())
    raise ValueError("a list of texts")


def _numbers(given: Any) -> tuple[float, ...]:
    values = given.split(",") if isinstance(given, str) else given
    if not isinstance(values, list | tuple):
        raise ValueError("a list of numbers")
    return tuple(_number(item, "a list of numbers") for item in values)


def _boolean(given: Any) -> bool:
    found = _BOOLEANS.get(given.lower()) if isinstance(given, str) else given
    if isinstance(found, bool):
        return found
    raise ValueError("true or false")


def _whole(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int | str):
        raise ValueError("a whole number")
    try:
        return int(given)
    except ValueError:
        raise ValueError("a whole number") from None


def _number(given: Any, what: str) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        raise ValueError(what)
    try:
        found = float(given)
    except (ValueError, OverflowError):
        raise ValueError(what) from None
    if not math.isfinite(found):
        raise ValueError(what)
    return found
