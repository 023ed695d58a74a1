"""Answers kept under idempotency keys: what a place must do that keeps them.

Delivery order of a request with a key:
  1. `claim`: the key is this request's, or its answer is there already, or somebody else is at it;
  2. it is scored, and nothing of it recorded yet;
  3. `prepare` keeps the answer, and the frames that will record it;
  4. the frames are recorded, and the answer leaves;
  5. `done` forgets the frames. Until then the key is taken: somebody else who asks is told that one is at it.
Whoever dies before 3 has recorded nothing: the key is free again. Whoever dies after it leaves answer and frames: a
retry records these frames, under the ids they have, and gives this answer. Frames that were recorded already come again
then, and the first is the decision: there is one, whenever the death was.
"""

from dataclasses import dataclass
from typing import Final, Protocol

KEEP_S: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer under a key; with frames nobody knows to be recorded."""

    answer: bytes
    frames: bytes


class Answers(Protocol):
    """Where answers are kept for 24 h; keys and requests are digests of 32 bytes. Used by one thread at a time.

    What cannot be asked raises IdempotencyDown.
    """

    def claim(self, key: bytes, request: bytes, /) -> Kept | None:
        """What is kept of a request, None where the key is its own from now on.

        Raises IdempotencyBusy while another is at it, IdempotencyMismatch where the key was another request's.
        """
        ...

    def prepare(self, key: bytes, request: bytes, kept: Kept, /) -> None:
        """Keeps an answer; raises IdempotencyBusy where the key is no longer this request's."""
        ...

    def done(self, key: bytes, /) -> None:
        """The frames are recorded."""
        ...

    def drop(self, key: bytes, /) -> None:
        """The request was refused: its key is free again, and nothing of it is kept."""
        ...

    def leave(self, key: bytes, /) -> None:
        """What is kept stays as it is, for the next who asks."""
        ...
