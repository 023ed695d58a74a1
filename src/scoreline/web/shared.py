"""What all connections of an event loop have in common."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scoreline.core.seldom import Seldom
from scoreline.web.bodies import Bodies
from scoreline.web.connections import Connections, Limits
from scoreline.web.line import Line
from scoreline.web.transport import Cork


@dataclass(frozen=True, slots=True)
class Shared:
    cork: Cork
    line: Line
    connections: Connections
    bodies: Bodies
    log: Seldom

    def look(self) -> None:
        """A few times a second: who takes too long is ended, and who has waited reads on."""
        self.connections.look()
        self.bodies.look()


def shared_by(state: Any, loop: asyncio.AbstractEventLoop, commit: Callable[[], None]) -> Shared:
    """What the connections of a server share, by its `server_state`; made with the first of them."""
    found: Shared | None = getattr(state, "shared", None)
    if found is None:
        cork, limits = Cork(loop, commit), getattr(state, "limits", Limits())
        log = Seldom(logging.getLogger("scoreline.http"))
        found = Shared(cork, Line(loop, cork.release), Connections(limits), Bodies(limits.bodies_bytes), log)
        state.shared = found
    return found
