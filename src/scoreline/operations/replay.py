"""Replay and explanation of recorded decisions; one decision in a limited process of its own, many in this one.

`python -m scoreline.operations.replay` is that process: it takes one decision as a frame of the spool on its standard
input, and answers JSON. A bundle that ends it ends nothing else.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from scoreline.core.bundle import Bundle, read_bundle
from scoreline.core.decision import Decisions
from scoreline.core.errors import NotFound, ReplayRefused, SignatureRefused
from scoreline.engines.load import load_engine
from scoreline.operations.apart import CPU_S, LEAST_BYTES, answer_apart, memory_for, run_apart
from scoreline.operations.bundles import ByDigest, bundle_of, bundle_path, manifest_of
from scoreline.records.frames import frame_author, frame_decisions, read_frames
from scoreline.replay.backtest import Backtest, backtest
from scoreline.replay.explain import Adverse, explain
from scoreline.replay.recompute import Verdict, recompute

MODULE: Final = "scoreline.operations.replay"
UNREADABLE: Final = "the process apart answered what cannot be read: ask who signed this bundle"


def replay_many(found: Iterable[Decisions], state_dir: Path, beside: Path | None = None) -> Iterator[Verdict]:
    """A verdict on every decision, computed in this process; `beside` the state folder's bundles there may be one."""

    def open_bundle(digest: str) -> Bundle:
        if beside is not None:
            with suppress(SignatureRefused):  # it is of another digest
                return read_bundle(beside, ByDigest(digest))
        return bundle_of(state_dir, digest)

    return recompute(found, open_bundle)


def backtest_many(found: Iterable[Decisions], state_dir: Path, digest: str) -> Iterator[Backtest]:
    """Every decision beside what the bundle of this digest would have decided; raises NotFound, BundleError."""
    other = bundle_of(state_dir, digest)
    return backtest(found, partial(manifest_of, state_dir), other, load_engine(other))


def replay_one(found: Decisions, state_dir: Path) -> Verdict:
    """The verdict on a decision of one row, computed apart; a bundle that cannot be loaded is a verdict too."""
    try:
        return Verdict(**_apart(found, state_dir, "replay"))
    except NotFound:
        return _missing(found)
    except (ReplayRefused, TypeError) as refused:  # TypeError: what was answered is no verdict
        note = str(refused) if isinstance(refused, ReplayRefused) else UNREADABLE
        return replace(_missing(found), result="refused", note=note)


def explain_one(
    found: Decisions, state_dir: Path, *, adverse: Adverse = "higher", values: bool = False
) -> dict[str, Any]:
    """The explanation of a decision of one row as plain JSON, computed apart; raises ReplayRefused.

    It holds what `replay.explain.Explanation` does.
    """
    try:
        return _apart(found, state_dir, "explain", adverse, "values" if values else "")
    except NotFound as missing:
        raise ReplayRefused(str(missing)) from None


def _missing(found: Decisions) -> Verdict:
    def nothing(digest: str) -> Any:
        raise NotFound(digest)

    (verdict,) = recompute([found], nothing)
    return verdict


def _apart(found: Decisions, state_dir: Path, *what: str) -> dict[str, Any]:
    """What the process apart answers; raises NotFound without the bundle, ReplayRefused with what became of it."""
    digest = found.author.digest
    bundle = bundle_path(state_dir, digest)
    frames = bytes(frame_author(0, found.author) + frame_decisions(0, found))
    limits = str(CPU_S), str(memory_for(bundle, LEAST_BYTES))
    ended = run_apart(MODULE, str(bundle), *limits, *what, given=frames)
    if ended.code == 0:
        return _read(ended.answer)
    if ended.code is None:
        raise ReplayRefused(f"bundle {digest[:12]}: this was not over in time; try again while less is going on")
    died = f"its model file ended the process that loaded it (code {ended.code}): ask who signed it"
    raise ReplayRefused(f"bundle {digest[:12]}: {ended.refusal or died}")


def _read(answer: bytes) -> dict[str, Any]:
    """The process apart has read a model file, and may say anything."""
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ReplayRefused(UNREADABLE)
    return found


def _answer(found: Decisions, bundle_folder: Path, what: str, adverse: Adverse = "higher", values: str = "") -> bytes:
    def open_bundle(digest: str) -> Any:
        return read_bundle(bundle_folder, ByDigest(digest))

    if what == "replay":
        (verdict,) = recompute([found], open_bundle)
        return _json(asdict(verdict))
    bundle = open_bundle(found.author.digest)
    return _json(asdict(explain(found, bundle, load_engine(bundle), adverse=adverse, values=bool(values))))


def _json(found: dict[str, Any]) -> bytes:
    return json.dumps(found, ensure_ascii=False, allow_nan=False).encode()


def _main(bundle: str, cpu_s: str, n_bytes: str, *what: Any) -> int:
    *_, (found, _) = read_frames(sys.stdin.buffer.read(), {})
    act: Callable[[], bytes] = partial(_answer, found, Path(bundle), *what)  # type: ignore[arg-type]
    return answer_apart(act, int(cpu_s), int(n_bytes))


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
