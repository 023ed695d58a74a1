"""The breaker before a store: one that does not answer costs its budget once, and is asked by nobody until it does."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from scoreline.core.errors import StoreDown
from scoreline.core.patience import patience

FIRST_PROBE_S: Final = 0.05
LAST_PROBE_S: Final = 1.0
PATIENCE_S: Final = 1.0
log = logging.getLogger("scoreline.features")
Ask = Callable[[int], Awaitable[object]]


class Breaker:
    """Closed while the store answers. The first failure opens it; then only its own probe asks, until that is answered.

    `ask(n)` asks the store n times at once as requests would. A probe does so patiently first, as often as requests
    have at once: to connect may take longer than a request can wait. Then once more within `budget_s`. It is repeated
    after 50 ms, and then ever more rarely up to once a second; no request waits for it. It belongs to one event loop.
    """

    def __init__(self, ask: Ask, budget_s: float) -> None:
        self._ask = ask
        self.budget_s = budget_s
        self._probing: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        return self._probing is not None

    def trip(self, why: str, at_once: int) -> None:
        """Opens it; who fails while it is open has asked before and changes nothing."""
        if self._probing is None:
            log.error("the feature store does not answer (%s): it is left alone until it does", why)
            self._probing = asyncio.get_running_loop().create_task(self._until_it_answers(at_once))

    async def _until_it_answers(self, at_once: int) -> None:
        pause_s = FIRST_PROBE_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LAST_PROBE_S)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._ask(at_once)
                async with patience(self.budget_s):
                    await self._ask(1)
            except (StoreDown, TimeoutError):
                continue
            except Exception:
                log.exception("the feature store could not be asked whether it answers again")
                continue
            break
        log.warning("the feature store answers again")
        self._probing = None
