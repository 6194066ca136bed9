"""Files of others: each reader refuses in one line what it cannot use, naming file and key."""

from __future__ import annotations

import json
from typing import Literal, NotRequired, TypedDict

import pytest
from weightspace.bench.runs.files import Event, RunConfig, Summary, read_config, read_summary
from weightspace.bench.speed import before_after as compare
from weightspace.bench.speed import page as bench_page
from weightspace.bench.speed import records
from weightspace.bench.store.schema import fault, read_json, read_lines, read_toml
from weightspace.bench.studies.study import read_rows
from weightspace.bench.studies.superposition.capacity import STUDY as CAPACITY
from weightspace.kernels.errors import CheckpointError, DataError


class Part(TypedDict):
    name: str
    size: NotRequired[int | None]


class Whole(TypedDict):
    kind: Literal["a", "b"]
    parts: list[Part]
    rates: dict[str, float]


class Good(TypedDict):
    status: Literal["ok"]
    acc: float | None


class Bad(TypedDict):
    status: Literal["failed"]
    error: str


GOOD = {"kind": "a", "parts": [{"name": "x"}, {"name": "y", "size": None}], "rates": {"r": 1}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"more": 1}, None),
        ({"kind": "c"}, "key 'kind' should be 'a' or 'b', and is \"c\""),
        ({"parts": {}}, "key 'parts' should be a list of"),
        (
            {"parts": [{"name": "x", "size": 1.5}]},
            r"parts\[0\].size' should be a whole number or nu",
        ),
        ({"parts": [{"size": 1}]}, r"key 'parts\[0\].name' is missing"),
        ({"rates": {"r": True}}, "key 'rates.r' should be a number, and is true"),
        ({"rates": {"r": None}}, "key 'rates.r' should be a number, and is null"),
    ],
)
def test_a_fault_is_named_by_its_place(change, said):
    found = fault({**GOOD, **change}, Whole)
    if said is None:
        assert found is None
    else:
        with pytest.raises(AssertionError, match=said):
            raise AssertionError(found)


def test_of_two_records_the_one_that_is_meant_is_named():
    assert fault({"status": "ok", "acc": None}, Good | Bad) is None
    assert fault({"status": "failed"}, Good | Bad) == "key 'error' is missing"
    assert fault({"status": "ok"}, Good | Bad) == "key 'acc' is missing"
    assert "an object or an object" in str(fault({"status": "odd"}, Good | Bad))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{", "not UTF-8"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested more than 32 deep"),
        (b'{"a": 1e999}', "not finite"),
        (b'{"a": "\\ud800"}', "not Unicode"),
        (b'{"a": ' + b"9" * 4000 + b"}", "beyond all reason"),
        (b"[1]", "it should be an object"),
    ],
)
def test_what_no_reader_can_use_is_refused_in_a_line(tmp_path, content, said):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=rf"file\.json is damaged: .*{said}.*; mend it"
    ) as got:
        read_json(path, dict[str, float], "mend it")
    assert "\n" not in str(got.value)


def test_null_and_nan_are_what_was_not_measured(tmp_path):
    path = tmp_path / "file.json"
    path.write_text("[null, NaN, 0.5]")
    assert read_json(path, list[float | None], "") == [None, None, 0.5]
    with pytest.raises(CheckpointError, match=r"key '\[0\]' should be a number, and is null"):
        read_json(path, list[float], "")


def test_files_that_are_not_there_or_not_toml(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_json(tmp_path / "none", dict[str, int], "", DataError)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_lines(tmp_path, dict[str, int], "")
    (tmp_path / "deep.toml").write_text("a = " + "[" * 5000)
    with pytest.raises(CheckpointError, match=r"deep\.toml is damaged"):
        read_toml(tmp_path / "deep.toml", dict[str, int], "")


# ---- the readers ---------------------------------------------------------------------------------

SUMMARY = {
    "experiment": "toy", "method": "naive", "method_settings": {"name": "naive"}, "convention": "",
    "backend": "cpu", "seed": 0, "scenario": "task", "stream": "", "stream_hash": "s",
    "config_hash": "c", "acc": 0.5, "bwt": None, "fwt": None, "forgetting": None,
    "accuracy_matrix": [[0.5, None], [0.5, 0.5]], "baseline": [0.1, 0.1], "tasks": ["a", "b"],
    "parameters": 3, "persistent_state_bytes": [0, 0], "steps": 2, "versions": {}, "seconds": 0.1,
}  # fmt: skip


@pytest.mark.parametrize("key", [key for key in Summary.__annotations__ if key in SUMMARY])
def test_a_summary_without_a_key_or_with_another_type_is_named(tmp_path, key):
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(SUMMARY))
    assert read_summary(path)["tasks"] == ["a", "b"]
    for change in ({}, {key: {"deep": {}}} if key != "versions" else {key: 3}):
        damaged = {name: value for name, value in SUMMARY.items() if name != key} | change
        path.write_text(json.dumps(damaged))
        with pytest.raises(CheckpointError, match=rf"summary\.json is damaged: key '{key}"):
            read_summary(path)


@pytest.mark.parametrize(
    "change",
    [{"accuracy_matrix": [[0.5, 0.5]]}, {"tasks": []}, {"persistent_state_bytes": []},
     {"accuracy_matrix": [[0.5], [0.5, 0.5]]}, {"baseline": [0.1]}],
)  # fmt: skip
def test_a_summary_whose_shapes_contradict_is_named(tmp_path, change):
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({**SUMMARY, **change}))
    with pytest.raises(CheckpointError, match="tasks"):
        read_summary(path)


def test_a_config_that_is_no_config_is_named(tmp_path):
    dated = b"at = [2020-01-01]"
    for content, said in ((b"\xff", "UTF-8"), (b'name = "x"', "'stream' is"), (dated, "a date")):
        (tmp_path / "config.toml").write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"config\.toml is damaged.*{said}"):
            read_config(tmp_path)
    assert fault({"kind": "loss", "step": "1"}, Event) and fault({}, RunConfig)


MACHINE = {"cpu": "x", "cores": 1, "system": "", "commit": None, "dirty": None, "versions": {}}
STEP = {"kind": "step", "date": "2026-01-01", "machine": MACHINE, "operation": "jvp", "size": "s",
        "peer": "weightspace", "variant": "", "reason": "", "samples": [1.0], "status": "timed",
        "median": 1.0, "ratio": None, "ratio_low": None, "ratio_high": None,
        "peak_bytes": None}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"machine": None}, "'machine' should be an object, and is null"),
        ({"machine": {}}, r"machine\.cpu"),
        ({"median": None}, "median"),
        ({"samples": ["fast"]}, r"samples\[0\]"),
        ({"status": "odd"}, "object"),
        ({"kind": 3}, "kind"),
    ],
)
def test_a_damaged_record_of_the_bench_is_named(tmp_path, change, said):
    path = records.write(tmp_path / "a.jsonl", [STEP])
    assert compare.load(path)[0]
    bench_page.write_page([path], tmp_path / "page.html")
    records.write(path, [STEP, {**STEP, **change}])
    for reader in (compare.load, lambda file: bench_page.write_page([file], tmp_path / "p.html")):
        with pytest.raises(DataError, match=rf"a\.jsonl is damaged: .*{said}"):
            reader(path)


def test_damaged_rows_of_a_study_and_of_the_capacities_are_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    for line in ("3", '{"part": "a"}', '{"part": 1, "seed": 0}', "{" * 9999):
        path.write_text('{"part": "a", "seed": 0}\n' + line)
        with pytest.raises(CheckpointError, match=r"rows\.jsonl is damaged: line 2"):
            read_rows(path)
    path.write_text('{"part": "a", "seed": 0, "ask": "noise", "kind": "binary", "width": 4}')
    with pytest.raises(CheckpointError, match="'models' is missing"):
        read_rows(path, CAPACITY.row)
