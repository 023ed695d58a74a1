"""Those decisions that a challenger moves furthest, and by which fields: found apart, in a limited process of its own.

`python -m scoreline.operations.movers` is that process: decisions as frames of the spool in, JSON out, for as long as
its time lasts.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from scoreline.core import ids
from scoreline.core.bundle import read_bundle
from scoreline.core.decision import Decisions
from scoreline.core.errors import BundleError, RolloutRefused
from scoreline.core.ports import Record
from scoreline.engines.load import load_engine
from scoreline.operations.apart import CPU_S, answer_apart, memory_for, run_apart
from scoreline.operations.bundles import ByDigest, bundle_path
from scoreline.operations.desk import Desk
from scoreline.records.frames import frame_author, frame_decisions, read_frames
from scoreline.replay.moved import Moved, Opened, moved

LASTS_S: Final = 30.0
NO_TIME: Final = "there was no time left to explain it"
GONE: Final = "the decision is in no record any more"
OTHERS: Final = "it was decided by a version that is not the champion now"

Json = Mapping[str, Any]


def movers(desk: Desk, record: Record, state_dir: Path, model: str, version: str) -> Json:
    """The movers of a challenger, the furthest first, each with what moved it or why that cannot be said.

    `version` may be empty where only one is in shadow. Raises as the desk does, and BundleError where the process apart
    does not end as it should.
    """
    stage, challenger, report = desk.shown_of(model, version)
    if "agreement" not in report:
        raise RolloutRefused(f"nothing can be compared here: {report.get('error', 'there is no report yet')}")
    told: Sequence[Json] = report["agreement"]["movers"]
    found = {one["id"]: record.get(ids.parse(one["id"])) for one in told}
    champion = stage.champion.digest
    mine = [each for each in found.values() if each is not None and each.author.digest == champion]
    why = {each["id"]: each for each in _apart(mine, champion, challenger.arm.digest, state_dir)} if mine else {}
    return {
        "model": model,
        "champion": stage.champion.version,
        "version": challenger.arm.version,
        "movers": [{**one, **_told(why.get(one["id"]), found[one["id"]])} for one in told],
    }


def _told(why: Json | None, found: Decisions | None) -> Json:
    """What is said of a mover beside its scores."""
    if why is not None:
        return {name: why[name] for name in ("output", "shifts", "note")}
    return {"output": "", "shifts": [], "note": GONE if found is None else OTHERS}


def _apart(found: Sequence[Decisions], champion: str, challenger: str, state_dir: Path) -> Sequence[Json]:
    folders = [bundle_path(state_dir, digest) for digest in (champion, challenger)]
    frames = b"".join(bytes(frame_author(0, each.author) + frame_decisions(0, each)) for each in found)
    limits = str(CPU_S), str(max(map(memory_for, folders)))
    ended = run_apart("scoreline.operations.movers", *map(str, folders), champion, challenger, *limits, given=frames)
    if ended.code is None:
        raise BundleError("the movers could not be explained in time; one of the two versions is too slow")
    if ended.code != 0:
        died = f"a model file ended the process that loaded it (code {ended.code}): ask who signed it"
        raise BundleError(ended.refusal or died)
    try:
        told = json.loads(ended.answer)
        return [{name: each[name] for name in ("id", "output", "shifts", "note")} for each in told]
    except (ValueError, TypeError, KeyError):  # the process has read model files, and may say anything
        raise BundleError("the process apart answered what cannot be read: ask who signed these bundles") from None


def _explained(raw: bytes, mine: Opened, theirs: Opened) -> Iterator[Moved]:
    until_s = time.monotonic() + LASTS_S
    for found, _ in read_frames(raw, {}):
        if isinstance(found, Decisions):
            late = time.monotonic() > until_s
            yield Moved(ids.text(found.base), "", (), NO_TIME) if late else moved(found, mine, theirs)


def _opened(folder: str, digest: str) -> Opened:
    bundle = read_bundle(Path(folder), ByDigest(digest))
    return bundle, load_engine(bundle)


def _main(mine: str, theirs: str, champion: str, challenger: str, cpu_s: str, n_bytes: str) -> int:
    raw = sys.stdin.buffer.read()

    def explain_all() -> bytes:
        found = _explained(raw, _opened(mine, champion), _opened(theirs, challenger))
        return json.dumps([asdict(each) for each in found], ensure_ascii=False, allow_nan=False).encode()

    return answer_apart(explain_all, int(cpu_s), int(n_bytes))


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
