"""A state folder as a service leaves it: bundles under their digests, and decisions in a spool."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models import AnyVerifier, Array
from scoreline.core.batch import Batch, Context
from scoreline.core.bundle import read_bundle
from scoreline.core.decision import Decisions
from scoreline.core.scorer import Scorer
from scoreline.engines.load import load_engine
from scoreline.operations.install import install
from scoreline.records.writer import SpoolWriter


def kept(bundle: Path, state_dir: Path) -> str:
    """The digest of a bundle, which is in the state folder from now on."""
    return install(str(bundle), {}, AnyVerifier(), state_dir).manifest.digest


def decided(bundle: Path, rows: Array, *, caller: str = "", at_once: int = 1) -> list[Decisions]:
    """What a bundle decides on coded rows, in requests of so many."""
    found = read_bundle(bundle, AnyVerifier())
    score = Scorer(found.manifest, load_engine(found))
    pieces = [np.ascontiguousarray(rows[at : at + at_once]) for at in range(0, len(rows), at_once)]
    return [score(Batch(piece, Context(time.time_ns(), caller=caller), {})) for piece in pieces]


def spooled(state_dir: Path, decisions: Sequence[Decisions]) -> list[Decisions]:
    """The same decisions, once they are in the spool of a state folder."""
    writer = SpoolWriter(state_dir / "spool", 1 << 26)
    for found in decisions:
        writer.write(found)
    writer.close()
    return list(decisions)


def golden_rows(bundle: Path) -> Array:
    """Rows of a bundle that its schema takes, usual ones and probes."""
    return read_bundle(bundle, AnyVerifier()).golden.values


def program_that_dies(folder: Path) -> Path:
    """What may stand in for the interpreter of a process apart: a program that ends by SIGSEGV."""
    program = folder / "python"
    program.write_text("#!/bin/sh\nkill -SEGV $$\n")
    program.chmod(0o755)
    return program
