"""What access costs: a key, three limits and the full record, side by side with the ceiling and with a service without.

The worker has core 0 for itself; wrk, the supervisor and the steward share core 1.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from measuring import Figure, interleaved, lua, requests_per_s
from services import ceiling, service

from models import bench_model

KEY: Final = "a-key-of-at-least-24-characters"
LIMITS: Final = {
    "SCORELINE_ACCESS__ADMIN_KEY": KEY,
    "SCORELINE_LIMITS__PER_ADDRESS": "1000000000/second",
    "SCORELINE_LIMITS__PER_CALLER": "1000000000/minute",
    "SCORELINE_LIMITS__PER_MODEL": "1000000000/hour",
}


def measure(folder: Path) -> Iterator[Figure]:
    """Requests per second at 32 connections."""
    model = bench_model(folder / "20", 20)
    one, with_key = lua(folder / "one.lua", model.one), lua(folder / "key.lua", model.one, x_api_key=KEY)
    with ceiling() as hello, service(model, folder / "limited", key=KEY, **LIMITS) as limited:
        yield interleaved(
            "API key, limits by address, caller and model, full record: requests/s at 32 connections / ceiling",
            ">= 0.50",
            lambda: requests_per_s(hello, one, 32),
            lambda: requests_per_s(limited.port, with_key, 32),
            before_base=limited.wait_until_shipped,
        )
    with service(model, folder / "open") as free, service(model, folder / "again", key=KEY, **LIMITS) as limited:
        yield interleaved(
            "the same / without key and limits",
            "(none)",
            lambda: requests_per_s(free.port, one, 32),
            lambda: requests_per_s(limited.port, with_key, 32),
            before_base=limited.wait_until_shipped,
        )
