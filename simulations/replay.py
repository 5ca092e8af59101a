"""What differs between two runs of one scenario with one seed, the most telling first."""

from collections.abc import Iterator

from simulations.result import MACHINE_FIGURES, Result


def differences(before: Result, after: Result) -> list[str]:
    """Lines for people; none when the trace hashes are equal."""
    return list(_differences(before, after)) if before.trace_hash != after.trace_hash else []


def _differences(before: Result, after: Result) -> Iterator[str]:
    yield f"trace hash: {before.trace_hash} before, {after.trace_hash} now"
    yield from _versions(before, after)
    if before.events != after.events:
        yield f"events: {before.events:,} before, {after.events:,} now"
    yield from _first_event(before, after)
    for name in sorted((before.figures.keys() | after.figures.keys()) - set(MACHINE_FIGURES)):
        old, new = before.figures.get(name), after.figures.get(name)
        # As text, so that two figures that are no number are alike.
        if str(old) != str(new):
            yield f"{name}: {_figure(old)} before, {_figure(new)} now"
    if len(before.violations) != len(after.violations):
        yield f"violations: {len(before.violations)} before, {len(after.violations)} now"


def _versions(before: Result, after: Result) -> Iterator[str]:
    for name in sorted(before.versions.keys() | after.versions.keys()):
        old, new = before.versions.get(name, "none"), after.versions.get(name, "none")
        if old != new:
            yield f"version of {name}: {old} before, {new} now"


def _first_event(before: Result, after: Result) -> Iterator[str]:
    kept = min(len(before.trace), len(after.trace))
    place = next((one for one in range(kept) if before.trace[one] != after.trace[one]), kept)
    if place < kept:
        old, new = before.trace[place], after.trace[place]
        yield f"event {place + 1:,} is the first that differs: {old!r} before, {new!r} now"
    elif kept and len(before.trace) != len(after.trace):
        yield f"events are alike up to number {kept:,}, where one of the runs ends"
    elif kept:
        yield f"the {kept:,} events that were kept are alike; keep more with limits.trace_events_max"
    else:
        yield "no events were kept; run with --set limits.trace_events_max=100000 to see where runs part"


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"
