"""The command line of a Scoreline whose workers record nothing: what the record is measured against."""

from collections.abc import Callable

from scoreline.cli import main
from scoreline.core.decision import Decisions
from scoreline.doors.http import worker
from scoreline.records.turn import Turn


class Nothing(Turn):
    """A turn of which nothing is kept."""

    def write(self, decisions: Decisions) -> None:
        pass

    def tell(self, refused: Callable[..., None]) -> None:
        pass

    def unsent(self, decisions: Decisions) -> None:
        pass

    def failed(self, *_: object) -> None:
        pass


worker.Turn = Nothing  # type: ignore[misc]
worker.recorder = lambda *_: lambda score: score
if __name__ == "__main__":
    main()
