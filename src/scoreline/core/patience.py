"""How long somebody outside of this process may take: what was said by the end of it is read first."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

LAST_LOOKS: Final = 8  # turns of the loop: a pool looks at a connection, an answer is read, who waits for it is woken


@asynccontextmanager
async def patience(patience_s: float) -> AsyncIterator[None]:
    """`asyncio.timeout`, but what has come by then is read first: a loop that was busy tells of nobody else."""
    loop = asyncio.get_running_loop()
    next_: asyncio.Handle

    def over(left: int) -> None:
        nonlocal next_
        if left:
            next_ = loop.call_soon(over, left - 1)
        else:
            limit.reschedule(loop.time())

    async with asyncio.timeout(None) as limit:
        next_ = loop.call_later(patience_s, over, LAST_LOOKS)
        try:
            yield
        finally:
            next_.cancel()
