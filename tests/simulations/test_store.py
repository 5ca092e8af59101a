"""The folder of a run: it reads back whole, carries what it needs, and a broken one is named."""

import json
import shutil

import msgspec
import pytest
from made_results import made_result

from protocol.errors import LocalError
from simulations.report import number, write_report
from simulations.scenario import Churn, Latency, Network, Scenario
from simulations.store import read_run, record, write_run


def test_a_run_reads_back_as_it_was(tmp_path):
    before = made_result(scenario=Scenario(name="n", churn=Churn(kind="exponential", mean_s=12.5)))
    write_run(before, tmp_path / "new" / "run")
    after = read_run(tmp_path / "new" / "run")
    assert (after.scenario, after.seed, after.violations, after.trace) == (
        before.scenario,
        before.seed,
        before.violations,
        before.trace,
    )
    assert after.tables["chunks"] == before.tables["chunks"]
    assert after.tables["peers"][1] == {**before.tables["peers"][1], "speed": 2.5}
    assert after.tables["lookups"] == []
    assert str(after.figures) == str(before.figures)
    assert msgspec.json.encode(record(after)) == msgspec.json.encode(record(before))


def test_the_result_is_json_with_null_for_no_number(tmp_path):
    write_run(made_result(), tmp_path)
    found = json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)
    assert found["figures"] == {"items": 100.0, "makespan_s": 67.0, "nothing": None}
    assert found["violations"][0] == {"checker": "chunks end", "at_s": 12.5, "detail": "<script>alert(1)</script>"}


def test_files_that_the_scenario_names_travel_with_the_run(tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    (there / "king.txt").write_text("1 2 300\n")
    (there / "sessions.csv").write_text("0 10\n")
    scenario = Scenario(
        name="n",
        network=Network(latency=Latency(kind="matrix", matrix_file=str(there / "king.txt"))),
        churn=Churn(kind="trace", trace_file=str(there / "sessions.csv")),
    )
    write_run(made_result(scenario), tmp_path / "run")
    shutil.rmtree(there)
    (tmp_path / "run").rename(tmp_path / "moved")
    moved = read_run(tmp_path / "moved")
    assert moved.scenario.network.latency.matrix_file == str(tmp_path / "moved" / "inputs" / "king.txt")
    write_run(moved, tmp_path / "moved")
    assert (tmp_path / "moved" / "inputs" / "sessions.csv").read_text() == "0 10\n"
    assert str(tmp_path) not in (tmp_path / "moved" / "scenario.toml").read_text()


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("result.json", None, r"holds no run \(result.json is missing\)"),
        ("result.json", "{", "result.json is not the result of a run"),
        ("tables/chunks.csv", None, "cannot read the table .*chunks.csv"),
        ("trace.txt", None, "cannot read .*trace.txt"),
        ("scenario.toml", "nam = 3", "scenario.toml.*name"),
    ],
)
def test_a_broken_folder_is_named(tmp_path, file, text, complaint):
    write_run(made_result(), tmp_path)
    if text is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(text)
    with pytest.raises(LocalError, match=complaint):
        read_run(tmp_path)


def test_another_format_is_refused(tmp_path):
    write_run(made_result(), tmp_path)
    path = tmp_path / "result.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(LocalError, match="has format 2; this version reads format 1"):
        read_run(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match="cannot write the run to"):
        write_run(made_result(), tmp_path / "file" / "run")


def test_the_report_is_one_file_that_loads_nothing_and_runs_nothing(tmp_path):
    text = write_report(made_result(), tmp_path).read_text()
    assert "<script" not in text and "&lt;script&gt;" in text
    assert "<b>bold" not in text
    assert not [word for word in ("http:", "https:", 'src="/', "<link", "url(") if word in text]
    assert text.count("data:image/png;base64,") >= 5
    for wanted in ("made by hand", "seed 7", "12,345 events", f"{7:064x}", "makespan_s", "3.11.2", "[workers.speed]"):
        assert wanted in text


def test_the_verdict_is_told(tmp_path):
    assert "All that must hold held" not in write_report(made_result(), tmp_path).read_text()
    assert "All that must hold held" in write_report(made_result(violations=()), tmp_path).read_text()


def test_plots_are_images_of_what_there_is(tmp_path):
    write_report(made_result(), tmp_path)
    plots = {path.name: path.read_bytes() for path in (tmp_path / "plots").iterdir()}
    assert "chunks_over_time.png" in plots and "lookup_time.png" not in plots
    assert all(data.startswith(b"\x89PNG") for data in plots.values())
    write_report(made_result(), tmp_path / "..")
    assert (tmp_path / ".." / "plots" / "message_bytes.png").read_bytes() == plots["message_bytes.png"]


def test_a_run_without_rows_has_a_report_too(tmp_path):
    assert "Figures" in write_report(made_result(tables={}, figures={}, trace=(), versions={}), tmp_path).read_text()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "yes"),
        (1234567, "1,234,567"),
        (0.123456, "0.1235"),
        (12345.6, "12,346"),
        (3.0, "3"),
        (float("nan"), "-"),
        ("x", "x"),
    ],
)
def test_numbers_as_people_read_them(value, text):
    assert number(value) == text
