"""The command line of a Scoreline whose worker dies at a step of the first request with an idempotency key.

`DIE_AT` names the step, `DIED` is a file that is there once it has happened.
"""

import os
import signal
from pathlib import Path
from typing import Any

from scoreline.access import answers_redis, answers_sqlite
from scoreline.cli import main


def dying(do: Any, *, after: bool = False) -> Any:
    """The same, but for the first time: then the process ends before it, or after it."""

    def die(*arguments: Any) -> Any:
        died = Path(os.environ["DIED"])
        if not died.exists() and not after:
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        found = do(*arguments)
        if not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    return die


if __name__ == "__main__":
    step, _, when = os.environ["DIE_AT"].partition(" ")
    for kind in (answers_sqlite.SqliteAnswers, answers_redis.RedisAnswers):
        setattr(kind, step, dying(getattr(kind, step), after=when == "after"))
    main()
