"""Every format in and out: the same scores as one row alone, what breaks the schema in the rejects, nothing lost."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from scoreline.core.errors import RowsRefused
from scoreline.core.scorer import Scorer
from scoreline.doors.batch import run_batch

FORMATS = ["parquet", "csv", "jsonl"]
ROWS = 300


def with_bad_rows(table: pa.Table) -> pa.Table:
    """Rows 3, 100 and 299 break the schema: out of range, null where none may be, and both with a new category."""
    amount, member, plan = (table[name].to_pylist() for name in ("amount", "member", "plan"))
    amount[3], member[100], amount[299], plan[299] = 1000.5, None, -1.0, "gold"
    return (
        table.set_column(1, "amount", pa.array(amount)).set_column(3, "member", [member]).set_column(4, "plan", [plan])
    )


def rejects(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def features(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "id"}


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_scores_are_those_of_one_row_alone_and_bad_rows_are_rejected(
    model: Any, files: Any, tmp_path: Path, source: str, target: str
) -> None:
    table = with_bad_rows(files.good_rows(ROWS))
    path = files.write(table, tmp_path / f"in.{source}")

    report = model.run(path, tmp_path / f"out.{target}", rows_per_chunk=64, rows_per_part=100)

    assert (report.rows, report.scored, report.rejected, report.resumed_rows) == (ROWS, ROWS - 3, 3, 0)
    expected = []
    for number, row in enumerate(table.to_pylist()):
        try:
            decision = model.decide(features(row))
        except RowsRefused:
            continue
        answer = {"score": decision.scores[0], "outcome": decision.outcome, "defaulted": "visits"}
        expected.append({"row": number, "id": row["id"], **answer})
    assert files.read(report.outputs) == expected
    least, greatest = "must be at least 0", "must be at most 1000"
    assert rejects(report.rejects) == [
        {"file": path.name, "row": 3, "problems": [{"field": "amount", "problem": greatest}]},
        {"file": path.name, "row": 100, "problems": [{"field": "member", "problem": "must not be null"}]},
        {
            "file": path.name,
            "row": 299,
            "problems": [
                {"field": "amount", "problem": least},
                {"field": "plan", "problem": "must be one of the model's 3 categories"},
            ],
        },
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [path.name, report.outputs.name, "out.rejects.jsonl"]
    )


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("rows_per_chunk", [1, 7, 65_536])
def test_the_size_of_chunks_does_not_show(
    model: Any, files: Any, tmp_path: Path, source: str, rows_per_chunk: int
) -> None:
    path = files.write(files.good_rows(ROWS), tmp_path / f"in.{source}")
    wanted = model.run(path, tmp_path / "wanted.parquet")
    found = model.run(path, tmp_path / "found.parquet", rows_per_chunk=rows_per_chunk, rows_per_part=50)
    assert found.outputs.read_bytes() == wanted.outputs.read_bytes()


def test_no_rejects_no_file(model: Any, files: Any, tmp_path: Path) -> None:
    path = files.write(files.good_rows(5), tmp_path / "in.parquet")
    assert model.run(path, tmp_path / "out.parquet").rejects is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.parquet", "out.parquet"]


def test_three_classes_have_a_column_each(three_classes: Any, files: Any, tmp_path: Path) -> None:
    table = files.good_rows(20)
    report = three_classes.run(files.write(table, tmp_path / "in.parquet"), tmp_path / "out.parquet", keep=[])
    assert pq.read_schema(report.outputs).names == [
        "row", "score_low", "score_mid", "score_high", "outcome", "defaulted",
    ]  # fmt: skip
    for row, found in zip(table.to_pylist(), files.read(report.outputs), strict=True):
        decision = three_classes.decide(features(row))
        assert (found["score_low"], found["score_mid"], found["score_high"]) == decision.scores
        assert found["outcome"] == decision.outcome


def test_a_folder_becomes_a_folder_of_the_same_names_and_formats(model: Any, files: Any, tmp_path: Path) -> None:
    source = tmp_path / "in"
    (source / "deep" / "er").mkdir(parents=True)
    files.write(files.good_rows(10, seed=1), source / "a.parquet")
    files.write(with_bad_rows(files.good_rows(ROWS, seed=2)), source / "deep" / "b.csv")
    files.write(files.good_rows(10, seed=3), source / "deep" / "er" / "c.ndjson")
    (source / "_SUCCESS").touch()
    (source / ".hidden.csv").write_text("not for us")

    report = model.run(source, tmp_path / "out")

    found = sorted(path.relative_to(report.outputs).as_posix() for path in report.outputs.rglob("*.*"))
    assert found == ["a.parquet", "deep/b.csv", "deep/er/c.ndjson"]
    assert (report.rows, report.scored) == (ROWS + 20, ROWS + 17)
    assert {line["file"] for line in rejects(tmp_path / "out.rejects.jsonl")} == {"deep/b.csv"}
    assert [row["row"] for row in files.read(report.outputs / "deep" / "er" / "c.ndjson")] == list(range(10))


@pytest.mark.parametrize("source", FORMATS)
def test_a_file_without_rows_gives_an_output_without_rows(model: Any, files: Any, tmp_path: Path, source: str) -> None:
    report = model.run(files.write(files.good_rows(0), tmp_path / f"in.{source}"), tmp_path / "out.parquet")
    assert (report.rows, report.scored, report.rejects) == (0, 0, None)
    assert pq.read_table(report.outputs).num_rows == 0


def test_the_columns_to_keep_can_be_named(model: Any, files: Any, tmp_path: Path) -> None:
    table = files.good_rows(4)
    for source in FORMATS:
        path = files.write(table, tmp_path / f"in.{source}")
        report = model.run(path, tmp_path / f"{source}.jsonl", keep=["plan", "id"])
        first = files.read(report.outputs)[0]
        assert list(first) == ["row", "plan", "id", "score", "outcome", "defaulted"]
        assert [row["id"] for row in files.read(report.outputs)] == table["id"].to_pylist()


def test_kept_parquet_columns_keep_their_types(model: Any, files: Any, tmp_path: Path) -> None:
    when = pa.array([1, 2, None], pa.timestamp("ns", "UTC"))
    tags = pa.array(["x", None, "y"]).dictionary_encode()
    table = files.good_rows(3).append_column("when", when).append_column("tag", tags)
    table = table.append_column("list", pa.array([[1], [], None]))
    report = model.run(files.write(table, tmp_path / "in.parquet"), tmp_path / "out.parquet")
    kept = pq.read_table(report.outputs).select(["id", "when", "tag", "list"])
    assert kept.equals(table.select(["id", "when", "tag", "list"]))


def test_kept_columns_as_text_and_json(model: Any, files: Any, tmp_path: Path) -> None:
    table = files.good_rows(2).drop_columns("id").append_column("ratio", pa.array([float("nan"), 0.1]))
    table = table.append_column("day", pa.array([0, 1], pa.date32())).append_column("n", pa.array([None, 7]))
    table = table.append_column("note", pa.array(['a "quoted", ü\nnote', None]))
    path = files.write(table, tmp_path / "in.parquet")
    found = files.read(model.run(path, tmp_path / "out.jsonl").outputs)
    note = 'a "quoted", ü\nnote'
    assert {name: found[0][name] for name in ("ratio", "day", "n", "note")} == {
        "ratio": None, "day": "1970-01-01", "n": None, "note": note,
    }  # fmt: skip
    assert (found[1]["ratio"], found[1]["n"], found[1]["note"]) == (0.1, 7, None)
    rows = pa.csv.read_csv(
        model.run(path, tmp_path / "out.csv").outputs, parse_options=pa.csv.ParseOptions(newlines_in_values=True)
    ).to_pylist()
    assert (rows[0]["note"], rows[1]["n"]) == (note, 7)


def test_kept_csv_cells_stay_the_texts_they_were(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text('id,amount,age,member,plan,day\n007,1.50,30,true,pro,2024-02-30\n"0,8",2,,FALSE,,\n')
    report = model.run(path, tmp_path / "out.csv")
    lines = report.outputs.read_text().splitlines()
    assert lines[0] == '"row","id","day","score","outcome","defaulted"'
    assert lines[1].startswith('0,"007","2024-02-30",')
    assert lines[2].startswith('1,"0,8","",')


def test_broken_cells_of_csv_reject_their_rows_only(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    good = "1.5,30,true,pro"
    broken = [
        "abc,30,true,pro",
        "1.5,30.5,true,pro",
        "1.5,30,1,pro",
        "1.5,30,true",
        "1.5,30,true,pro,more",
        ",30,true,pro",
    ]
    path.write_text("amount,age,member,plan\n" + "\n".join([good, *broken, "", good, "1.5"]) + "\n")
    report = model.run(path, tmp_path / "out.csv", rows_per_chunk=3)
    assert (report.rows, report.scored) == (9, 2)
    cells = "must have as many cells as the header"
    assert [(line["row"], line["problems"][0]["problem"]) for line in rejects(report.rejects)] == [
        (1, "must be a number"),
        (2, "must be an integer"),
        (3, "must be true or false"),
        (4, cells),
        (5, cells),
        (6, "must not be null"),
        (8, cells),
    ]
    assert [line.split(",")[0] for line in report.outputs.read_text().splitlines()[1:]] == ["0", "7"]


def test_broken_lines_of_json_reject_their_rows_only(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    good = '{"amount":1,"age":30,"member":true,"plan":"pro"}'
    lines = [
        good, "", "   ", "{oops", "[1]", '{"amount":NaN}', '{"amount":1,"amount":2}', good[:-1] + ',"x":1e999}',
        good[:-1] + ',"x":"\\ud800"}', '{"a":' * 100_000, '{"x":"' + "y" * (1 << 20) + '"}', good,
    ]  # fmt: skip
    path.write_bytes(b"\xef\xbb\xbf" + "\n".join(lines).encode() + b"\n\xff\xfe\n" + good.encode())
    report = model.run(path, tmp_path / "out.jsonl")
    assert (report.rows, report.scored) == (12, 3)
    assert [(line["row"], line["problems"][0]["problem"]) for line in rejects(report.rejects)] == [
        (1, "is not JSON"),
        (2, "must be an object of fields"),
        (3, "is not JSON"),
        (4, "has a key twice"),
        (5, "holds a number that is not finite"),
        (6, "holds half a character, which JSON allows and UTF-8 does not"),
        (7, "is not JSON"),
        (8, "is longer than 1 MiB"),
        (10, "is not JSON"),
    ]


def test_the_fields_of_json_lines_may_differ_from_line_to_line(model: Any, files: Any, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"flag": True, "n": 1, "x": 1, "mixed": 1, "deep": {"a": [1]}, "text": "ü", "huge": 2**70},
        {"flag": None, "n": 2, "x": 0.5, "mixed": "one", "late": None, "visits": 8.0},
    ]
    base = {"amount": 1, "age": None, "member": True, "plan": None}
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(base | row, ensure_ascii=False) + "\n" for row in rows))

    lines = files.read(model.run(path, tmp_path / "out.jsonl").outputs)
    assert [line["defaulted"] for line in lines] == ["visits", ""]
    for row, line in zip(rows, lines, strict=True):
        kept = {name: value for name, value in row.items() if name != "visits"}
        assert {name: line[name] for name in kept} == kept

    table = pq.read_table(model.run(path, tmp_path / "out.parquet", rows_per_chunk=1).outputs)
    kept_names = ["flag", "n", "x", "mixed", "deep", "text", "huge", "late"]
    assert table.schema.names == ["row", *kept_names, "score", "outcome", "defaulted"]
    assert [str(table.schema.field(name).type) for name in kept_names] == [
        "bool", "int64", "double", "string", "string", "string", "string", "string",
    ]  # fmt: skip
    assert table.select(kept_names).to_pylist() == [
        {
            "flag": True,
            "n": 1,
            "x": 1.0,
            "mixed": "1",
            "deep": '{"a": [1]}',
            "text": "ü",
            "huge": str(2**70),
            "late": None,
        },
        {"flag": None, "n": 2, "x": 0.5, "mixed": "one", "deep": None, "text": None, "huge": None, "late": None},
    ]


@pytest.mark.parametrize("source", FORMATS)
def test_a_field_of_the_store_is_taken_from_the_file_where_it_is(
    model: Any, files: Any, tmp_path: Path, source: str
) -> None:
    table = files.good_rows(50).append_column("visits", pa.array([float(number) for number in range(50)]))
    found = files.read(model.run(files.write(table, tmp_path / f"in.{source}"), tmp_path / "out.jsonl").outputs)
    left = files.write(table.drop_columns("visits"), tmp_path / f"other.{source}")
    without = files.read(model.run(left, tmp_path / "left.csv").outputs)
    assert {row["defaulted"] for row in found} == {""}
    assert {row["defaulted"] for row in without} == {"visits"}
    assert [row["score"] for row in found] != [row["score"] for row in without]


def test_columns_of_neighbouring_types_score_the_same(model: Any, files: Any, tmp_path: Path) -> None:
    table = files.good_rows(80).set_column(1, "amount", pa.array([float(number % 50) for number in range(80)]))
    plan, age, amount = table["plan"].combine_chunks(), table["age"].combine_chunks(), table["amount"].combine_chunks()
    variants = {
        "plan": [plan.dictionary_encode(), plan.cast(pa.large_string())],
        "age": [age.cast(pa.int8()), age.cast(pa.float32()), age.cast(pa.uint64())],
        "amount": [amount.cast(pa.float32()), amount.cast(pa.int16())],
    }
    wanted = files.read(model.run(files.write(table, tmp_path / "in.parquet"), tmp_path / "out.parquet").outputs)
    for name, columns in variants.items():
        for number, column in enumerate(columns):
            changed = table.set_column(table.schema.get_field_index(name), name, column)
            path = files.write(changed, tmp_path / f"{name}{number}.parquet")
            assert files.read(model.run(path, tmp_path / f"{name}{number}.out.parquet").outputs) == wanted


def test_nan_in_a_float_column_is_a_missing_value(model: Any, files: Any, tmp_path: Path) -> None:
    table = files.good_rows(2).set_column(2, "age", pa.array([float("nan"), 30.0]))
    null = files.good_rows(2).set_column(2, "age", pa.array([None, 30.0]))
    scores = [
        files.read(model.run(files.write(rows, tmp_path / f"{number}.parquet"), tmp_path / f"{number}.csv").outputs)
        for number, rows in enumerate([table, null])
    ]
    assert scores[0] == scores[1]


def test_decimals_are_numbers(model: Any, files: Any, tmp_path: Path) -> None:
    table = files.good_rows(ROWS)
    numbers = [round(value, 2) for value in table["amount"].to_pylist()]
    as_numbers = table.set_column(1, "amount", pa.array(numbers))
    as_decimals = table.set_column(1, "amount", pa.array(numbers).cast(pa.decimal128(9, 2)))
    wanted = model.run(files.write(as_numbers, tmp_path / "numbers.parquet"), tmp_path / "wanted.parquet")
    found = model.run(files.write(as_decimals, tmp_path / "decimals.parquet"), tmp_path / "found.parquet")
    assert found.scored == ROWS
    assert files.read(found.outputs) == files.read(wanted.outputs)


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("limit", (500, -1), ids=("some rows", "every row"))
def test_rows_the_model_has_no_score_for_are_rejected(
    model: Any, files: Any, tmp_path: Path, source: str, limit: int
) -> None:
    """As a sealed graph may have none; the others keep their bits."""

    class HalfBlind:
        name = "half blind 1.0"

        def predict(self, values: Any) -> Any:
            return np.where(values[:, :1] > limit, np.nan, values[:, :1] / 1000)

    score = Scorer(model.manifest, HalfBlind())
    table = with_bad_rows(files.good_rows(ROWS))
    path = files.write(table, tmp_path / f"in.{source}")
    report = run_batch(score, model.manifest, path, tmp_path / "out.jsonl", rows_per_chunk=64)
    bad = {3, 100, 299}
    blind = {row for row, amount in enumerate(table["amount"].to_pylist()) if row not in bad and amount > limit}
    found = {(line["row"], line["problems"][0]["problem"]) for line in rejects(report.rejects)}
    assert {row for row, _ in found} == bad | blind
    assert {row for row, problem in found if problem == "the model has no score for this row"} == blind
    scored = {row["row"]: (row["id"], row["score"]) for row in files.read(tmp_path / "out.jsonl")}
    ids, amounts = table["id"].to_pylist(), table["amount"].to_pylist()
    assert scored == {
        row: (ids[row], float(1.0 / (1.0 + np.exp(-amounts[row] / 1000)))) for row in set(range(ROWS)) - bad - blind
    }
