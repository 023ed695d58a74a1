"""A turn for sinks that keep what is written at once."""

from collections.abc import Callable

from scoreline.core.decision import Decisions
from scoreline.core.errors import RecordRefused


class AtOnce:
    """A `doors.http.app.Turn`."""

    def tell(self, refused: Callable[[RecordRefused], None]) -> None:
        pass

    def commit(self) -> None:
        pass

    def unsent(self, decisions: Decisions) -> None:
        raise AssertionError("nothing is lost without a connection")
