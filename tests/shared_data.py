"""Where real data is found: $SCORELINE_DATA, shared/data beside the sources, or beside the repository."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def shared_file(name: str) -> Path | None:
    """None where it is absent: a stand-in takes its place, or the test that needs it skips."""
    folders = (os.environ.get("SCORELINE_DATA"), REPOSITORY / "shared/data", REPOSITORY / "../shared/data")
    return next((path for folder in folders if folder and (path := Path(folder) / name).exists()), None)
