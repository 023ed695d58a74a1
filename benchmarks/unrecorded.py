"""The command line of a Scoreline whose workers record nothing: what the record is measured against."""

from scoreline.cli import main
from scoreline.core.decision import Decisions
from scoreline.doors.http import worker


class Nowhere:
    """A sink that keeps nothing."""

    has_room = True

    def write(self, decisions: Decisions) -> None:
        pass

    def unsent(self, decisions: Decisions) -> None:
        pass

    def failed(self, *_: object) -> None:
        pass

    def look(self) -> None:
        pass

    def unsynced(self) -> list[int]:
        return []

    def close(self) -> None:
        pass


worker.spool_writer = lambda _: Nowhere()  # type: ignore[assignment,return-value]
worker.recorder = lambda *_: lambda score: score
if __name__ == "__main__":
    main()
