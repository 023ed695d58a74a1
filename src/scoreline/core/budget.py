"""The latency budget: what a request to a model may take, and which part of it may spend how much."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Final

from scoreline.core.errors import SettingError

MAX_MS: Final = 3_600_000
_LEAST: Final = {"total_ms": 1, "network_ms": 0, "features_ms": 1, "model_ms": 1}


@dataclass(frozen=True, slots=True)
class Budget:
    """Milliseconds of one request; raises SettingError by the names of `[latency]`."""

    total_ms: int = 200
    network_ms: int = 50
    features_ms: int = 10
    model_ms: int = 140

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if not least <= getattr(self, name) <= MAX_MS:
                raise SettingError(f"latency.{name}: between {least} and {MAX_MS}")
        if self.network_ms + self.features_ms + self.model_ms > self.total_ms:
            raise SettingError("latency.total_ms: at least network_ms, features_ms and model_ms together")

    @property
    def here_ms(self) -> int:
        """What is left for this service once the network has had its share."""
        return self.total_ms - self.network_ms


USUAL: Final = Budget()


@dataclass(frozen=True, slots=True)
class Budgets:
    """The budget of every model: `usual`, or its own."""

    usual: Budget = USUAL
    own: Mapping[str, Budget] = field(default_factory=dict)

    def of(self, model: str) -> Budget:
        return self.own.get(model, self.usual)

    def over_ns(self, model: str) -> int:
        """Above how many nanoseconds a version has overrun the model's share."""
        return self.of(model).model_ms * 1_000_000

    @property
    def longest_model_ms(self) -> int:
        return max(budget.model_ms for budget in (self.usual, *self.own.values()))


def budgets_of(usual: Budget, texts: Iterable[str]) -> Budgets:
    """What texts as `fraud/total_ms=100` make of the usual budget, by model; raises SettingError."""
    given: dict[str, dict[str, int]] = {}
    known = {found.name for found in fields(Budget)}
    for text in texts:
        named, _, number = text.rpartition("=")
        model, _, name = named.rpartition("/")
        if not model.strip() or name.strip() not in known or not number.strip().isdecimal():
            raise SettingError(f'latency.models: each as "MODEL/NAME=MS", NAME one of {", ".join(_LEAST)}')
        given.setdefault(model.strip(), {})[name.strip()] = int(number)
    own = {}
    for model, parts in given.items():
        try:
            own[model] = replace(usual, **parts)
        except SettingError as error:
            raise SettingError(f"latency.models: {model}: {str(error).removeprefix('latency.')}") from None
    return Budgets(usual, own)
