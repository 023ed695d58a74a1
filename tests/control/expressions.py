"""Conditions as Argo Rollouts' documentation writes them: enough of antonmedv/expr, and of JSONPath, for those.

What Argo makes of a measurement is `utils/evaluate/evaluate.go`, what the provider `web` asks `docs/analysis/web.md`.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

TOKEN: Final = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<text>"[^"]*"|'[^']*')|(?P<name>[A-Za-z_]\w*)|(?P<sign>&&|\|\||[=!<>]=|[<>!().\[\]]))"""
)
COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
CONSTANTS: Final = {"true": True, "false": False, "nil": None}


def evaluated(condition: str, result: Any) -> bool:
    """The truth of a condition; raises TypeError where it is not of that type, as expr refuses it."""
    found = _Reader(condition, result).whole()
    if not isinstance(found, bool):
        raise TypeError("a condition is true or false")
    return found


def phase(metric: Mapping[str, Any], result: Any) -> str:
    """What a measurement is, by `EvaluateResult`: Successful, Failed, Inconclusive or Error."""
    success, failure = metric.get("successCondition", ""), metric.get("failureCondition", "")
    try:
        good = evaluated(success, result) if success else None
        bad = evaluated(failure, result) if failure else None
    except (TypeError, ValueError, KeyError):
        return "Error"
    if good is None and bad is None:
        return "Successful"
    good = not bad if good is None else good
    bad = not good if bad is None else bad
    return "Failed" if bad else "Successful" if good else "Inconclusive"


def at_path(path: str, body: Any) -> Any:
    """What a JSONPath of the form {$.a.b} leads to; {$}, or none, is the body."""
    for name in path.removeprefix("{$").removesuffix("}").split(".")[1:]:
        body = body[name]
    return body


class _Reader:
    """Reads and evaluates by descent: or, and, comparison, not, a value with fields."""

    def __init__(self, text: str, result: Any) -> None:
        self._tokens = list(_tokens(text))
        self._place = 0
        self._env = {"result": result, "asFloat": float, "asInt": int, **CONSTANTS}

    def whole(self) -> Any:
        found = self._either()
        if self._place != len(self._tokens):
            raise ValueError(f"unexpected {self._tokens[self._place]}")
        return found

    def _either(self) -> Any:
        found = self._both()
        while self._take("||"):
            other = self._both()
            found = _bool(found) or _bool(other)
        return found

    def _both(self) -> Any:
        found = self._comparison()
        while self._take("&&"):
            other = self._comparison()
            found = _bool(found) and _bool(other)
        return found

    def _comparison(self) -> Any:
        found = self._unary()
        for sign, compare in COMPARE.items():
            if self._take(sign):
                return compare(found, self._unary())
        return found

    def _unary(self) -> Any:
        return not _bool(self._unary()) if self._take("!") else self._value()

    def _value(self) -> Any:
        if self._take("("):
            found = self._either()
            self._expect(")")
        else:
            kind, text = self._next()
            if kind == "number":
                return float(text)
            if kind == "text":
                return text[1:-1]
            found = self._env[text]
        while True:
            if self._take("."):
                found = found[self._next()[1]]
            elif self._take("["):
                found = found[int(self._value())]
                self._expect("]")
            elif self._take("("):
                found = found(self._either())
                self._expect(")")
            else:
                return found

    def _next(self) -> tuple[str, str]:
        self._place += 1
        return self._tokens[self._place - 1]

    def _take(self, sign: str) -> bool:
        taken = self._place < len(self._tokens) and self._tokens[self._place] == ("sign", sign)
        self._place += taken
        return taken

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise ValueError(f"{sign} is missing")


def _bool(found: Any) -> bool:
    if not isinstance(found, bool):
        raise TypeError("not true or false")
    return found


def _tokens(text: str) -> Sequence[tuple[str, str]]:
    found, place = [], 0
    while text[place:].strip():
        match = TOKEN.match(text, place)
        if match is None:
            raise ValueError(f"unexpected {text[place:]!r}")
        place = match.end()
        found.append(next((kind, one) for kind, one in match.groupdict().items() if one is not None))
    return found
