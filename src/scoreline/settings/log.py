"""`[log]` and `[trace]`: what is told of each request, and where."""

from dataclasses import dataclass
from typing import Final

from scoreline.core.errors import SettingError
from scoreline.settings.option import option
from scoreline.settings.urls import is_url

FORMATS: Final = ("text", "json")
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class Log:
    format: str = option("text", "Lines of the log: `text`, or `json`, an object a line.")
    level: str = option("INFO", "Least level that is logged: `DEBUG`, `INFO`, `WARNING` or `ERROR`.")

    def __post_init__(self) -> None:
        for name, known in (("format", FORMATS), ("level", LEVELS)):
            if getattr(self, name) not in known:
                raise SettingError(f"log.{name}: one of {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class Trace:
    otlp: str = option("", "URL that takes traces by OTLP over HTTP, as http://localhost:4318/v1/traces; else none.")
    share: float = option(0.0, "Share, 0 to 1, of requests that are traced of those whose caller does not say.")
    most_per_s: int = option(100, "Most requests traced in a second on a host.")

    def __post_init__(self) -> None:
        if self.otlp and not is_url(self.otlp):
            raise SettingError("trace.otlp: an http or https URL")
        if not 0.0 <= self.share <= 1.0:
            raise SettingError("trace.share: between 0 and 1")
        if self.most_per_s < 1:
            raise SettingError("trace.most_per_s: at least 1")
