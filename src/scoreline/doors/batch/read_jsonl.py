"""JSON lines as a source: every line is judged by itself, blank ones are no rows."""

import json
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa

from scoreline.core.entities import entity_of
from scoreline.core.errors import Problem
from scoreline.doors.batch.inputs import InputFile
from scoreline.doors.batch.sources import KEPT_OBJECT, Chunk, Judged, Source, Wanted, check_clash, readable

MAX_LINE_BYTES: Final = 1 << 20
CHUNK_BYTES: Final = 32 << 20
_NOT_JSON: Final = "is not JSON"
_TWICE: Final = "has a key twice"
_NOT_FINITE: Final = "holds a number that is not finite"
_NOT_UNICODE: Final = "holds half a character, which JSON allows and UTF-8 does not"
_TOO_LONG: Final = f"is longer than {MAX_LINE_BYTES >> 20} MiB"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def open_jsonl(file: InputFile, wanted: Wanted) -> Source:
    """A file of JSON lines; its fields are known only as it is read. Raises BatchRefused."""
    with readable(file), file.path.open("rb"):
        check_clash(file, wanted.keep or (), wanted)
    keeps = pa.schema([] if wanted.keep == () else [(KEPT_OBJECT, pa.string())])
    return Source(None, keeps, partial(_chunks, file, wanted))


def _chunks(file: InputFile, wanted: Wanted, first: int, rows_per_chunk: int) -> Iterator[Chunk]:
    with readable(file), file.path.open("rb", buffering=1 << 20) as raw:
        lines = _lines(raw)
        last = sum(1 for _ in islice(lines, first))
        while some := _some(lines, rows_per_chunk):
            judged = _judge(file, wanted, some, last)
            last += len(some)
            yield Chunk(last, raw.tell(), judged)


def _lines(raw: BinaryIO) -> Iterator[bytes]:
    """The lines that hold something; of one too long to be read, a beginning longer than MAX_LINE_BYTES."""
    read = partial(raw.readline, MAX_LINE_BYTES + 1)
    line = read().removeprefix(_BYTE_ORDER_MARK)
    while line:
        if not line.isspace():
            yield line
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = read()
        line = read()


def _some(lines: Iterator[bytes], n_lines: int) -> list[bytes]:
    found, room = [], CHUNK_BYTES
    for line in lines:
        found.append(line)
        room -= len(line)
        if len(found) == n_lines or room < 0:
            break
    return found


def _judge(file: InputFile, wanted: Wanted, lines: list[bytes], first: int) -> Judged:
    positions: list[int] = []
    values: list[list[float]] = []
    kept: list[str] = []
    entities: list[str] = []
    defaulted: dict[int, tuple[int, ...]] = {}
    problems: list[Problem] = []
    for position, line in enumerate(lines, first):
        given, extra, entity, problem = _read(file, wanted, line)
        if problem:
            problems.append(Problem(position, "", problem))
            continue
        read, took_default, wrong = wanted.schema.row(given, position)
        problems += wrong
        if not wrong:
            if took_default:
                defaulted[len(positions)] = took_default
            positions.append(position)
            values.append(read)
            kept.append(extra)
            entities.append(entity)
    return Judged(
        np.array(positions, dtype=np.int64),
        np.array(values, dtype=np.float64).reshape(len(values), len(wanted.schema.fields)),
        defaulted,
        [] if wanted.keep == () else [pa.array(kept, pa.string())],
        problems,
        entities if wanted.entity else (),
    )


def _read(file: InputFile, wanted: Wanted, line: bytes) -> tuple[object, str, str, str]:
    """The fields of a line, the JSON of what is kept of it, whom it is about, and what is wrong with it as such."""
    if len(line) > MAX_LINE_BYTES:
        return None, "", "", _TOO_LONG
    try:
        found = _DECODER.decode(line.decode())
    except KeyError:
        return None, "", "", _TWICE
    except (ValueError, RecursionError):
        return None, "", "", _NOT_JSON
    if not isinstance(found, dict):
        return found, "", "", ""
    index = wanted.schema.index
    given = {name: value for name, value in found.items() if name in index}
    if wanted.keep is not None:
        extra = {name: found.get(name) for name in wanted.keep}
    elif len(given) < len(found):
        extra = {name: value for name, value in found.items() if name not in index}
        check_clash(file, extra, wanted)
    else:
        return given, "{}", "", ""
    try:
        text = _ENCODER.encode(extra)
        text.encode()
        return given, text, entity_of(found.get(wanted.entity)) or "", ""
    except UnicodeEncodeError:
        return None, "", "", _NOT_UNICODE
    except ValueError:
        return None, "", "", _NOT_FINITE


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) != len(items):
        raise KeyError
    return found


def _constant(_: str) -> None:
    raise ValueError


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
