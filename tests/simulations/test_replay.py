"""A replay says what differs, the most telling first."""

import dataclasses

from made_results import made_result

from simulations.replay import differences
from simulations.versions import versions

BEFORE = made_result()


def test_equal_hashes_are_no_difference():
    assert differences(BEFORE, made_result(wall_s=9.0)) == []


def test_versions_events_figures_and_violations_are_compared():
    after = made_result(
        trace_hash="other",
        events=9,
        figures={"items": 1.0, "new": 2.0, "kib_per_peer": 3.0, "nothing": float("nan")},
        violations=(),
    )
    after = dataclasses.replace(after, versions={"python": "3.13.0", "trio": "0.35.0"}, trace=("0 start", "2 end"))
    assert differences(BEFORE, after) == [
        f"trace hash: {7:064x} before, other now",
        "version of python: 3.11.2 before, 3.13.0 now",
        "events: 12,345 before, 9 now",
        "event 2 is the first that differs: '1 end' before, '2 end' now",
        "items: 100 before, 1 now",
        "makespan_s: 67 before, none now",
        "new: none before, 2 now",
        "violations: 1 before, 0 now",
    ]


def test_what_the_trace_can_tell():
    def told(trace: tuple[str, ...], before: tuple[str, ...] = BEFORE.trace) -> str:
        old = dataclasses.replace(BEFORE, trace=before)
        return differences(old, dataclasses.replace(BEFORE, trace_hash="other", trace=trace))[1]

    assert told(BEFORE.trace).startswith("the 2 events that were kept are alike")
    assert told(("0 start",)).startswith("events are alike up to number 1,")
    assert "limits.trace_events_max=100000" in told((), ())


def test_versions_name_what_is_in_the_trace():
    found = versions()
    assert found["trio"].startswith("0.") and {"python", "system", "cbor2"} <= found.keys()
