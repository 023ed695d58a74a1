"""What the steward knows of challengers in shadow: how far they are, and which segments wait for them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from scoreline.operations.state import State, read_state
from scoreline.records.segments import Segment, segments, size_of
from scoreline.records.shadowplaces import Key, Place, add_lost, behind, read_places

PART: Final = 4  # of the spool's bound: so much of it waits for a shadow that lags
UNBOUNDED: Final = 2 << 30  # waits where the spool has none


def keys_of(state: State) -> Iterator[tuple[Key, str]]:
    """The challengers of this host, and their versions."""
    for model, assignment in state.models.items():
        for each in assignment.challengers:
            yield Key(model, each.digest, each.since), each.version


def is_needed(state_dir: Path, spool: Path, max_bytes: int, segment: Segment, offset: int) -> bool:
    """Whether a segment waits for a challenger that is not past an offset. Beyond bounds it does not, and is lost."""
    late = behind(state_dir, [key for key, _ in keys_of(read_state(state_dir))], segment, offset)
    if not late:
        return False
    held = sum(size_of(each.path) for each in segments(spool))
    if held < (max_bytes // PART if max_bytes else UNBOUNDED):
        return True
    add_lost(state_dir, segment, late)
    return False


def status_of_shadow(state: State, state_dir: Path, spool: Path) -> list[dict[str, Any]]:
    """How far each challenger is, as the shadow last said."""
    places, found = read_places(state_dir), segments(spool)
    told = []
    for key, version in keys_of(state):
        place = places.get(key, Place(*key))
        told.append(
            {
                "model": key.model,
                "version": version,
                "digest": key.digest,
                "scored": place.scored,
                "lag_bytes": place.lag_bytes(found),
                "missed": place.missed,
                "faults": dict(place.faults),
                "given_up": place.given_up,
            }
        )
    return told
