"""At BOINC's own price: the adaptive policy with a target so loose that it costs no more, against the same liars.

`verification` compares at strict targets, where ours pays for what it promises. Here the target is one that nobody
need promise to beat BOINC's rule: peers are new, stay for a thousand chunks each, and only the checks that the law
asks for are made, with no audits in the background.
"""

from collections.abc import Iterator

from protocol.adaptive import Adaptive
from protocol.planner import Target
from simulations.experiments.outcome import Line, Outcome
from simulations.experiments.rivals import ADVERSARIES, STANDARD_ERRORS, Adversary, Cell, Network, Sizes, boinc_cell
from simulations.result import Row

LIARS_QUICK, LIARS_FULL = (0.2,), (0.1, 0.2, 0.3)
MAX_ERROR = 0.05
QUICK = Sizes(workers=10, seeds=2, fresh=600, history=0, jobs=(), plain=1)
FULL = Sizes(workers=10, seeds=5, fresh=1000, history=0, jobs=(), plain=1)
BEATEN = ("constant", "intermittent 0.1", "sleeper")
RARE = "intermittent 0.01"
_REDONE = "who lies so rarely is caught late, and all that it gave is done again; BOINC takes nothing back"


def run(quick: bool) -> Outcome:
    """A fifth of liars and shorter lives when quick."""
    sizes = QUICK if quick else FULL
    rows: list[Row] = []
    lines: list[Line] = []
    for liars in LIARS_QUICK if quick else LIARS_FULL:
        for adversary in ADVERSARIES:
            if adversary.name in (*BEATEN, RARE):
                ours, theirs = _ours(adversary, liars, sizes), boinc_cell(adversary, liars, sizes, lived=False)
                lines += _lines(f"f={liars}, {adversary.name}", adversary.name, ours, theirs)
                rows += [_row(liars, adversary, "adaptive", ours), _row(liars, adversary, "BOINC adaptive", theirs)]
    notes = (
        f"{sizes.workers} new workers, {sizes.seeds} seeds, one job of {sizes.fresh} chunks per worker; adaptive with "
        f"--max-error {MAX_ERROR:g} --audit-share 0.",
        f"Errors may be above BOINC's by {STANDARD_ERRORS:g} standard errors between seeds.",
    )
    return Outcome("against_boinc", "at BOINC's overhead: error and overhead", tuple(lines), notes, (), {"cells": rows})


def _ours(adversary: Adversary, liars: float, sizes: Sizes) -> Cell:
    target = Target(max_error=MAX_ERROR, assume_liars=liars, audit_share=0.0)
    return Network(Adaptive(target), liars, sizes).fresh(adversary)


def _lines(label: str, name: str, ours: Cell, theirs: Cell) -> Iterator[Line]:
    within = STANDARD_ERRORS * (ours.standard_error**2 + theirs.standard_error**2) ** 0.5
    yield Line(f"{label}: error, at most BOINC's", ours.error, theirs.error, within, ceiling=True)
    why = _REDONE if name == RARE and ours.overhead > theirs.overhead else ""
    yield Line(f"{label}: overhead, at most BOINC's", ours.overhead, theirs.overhead, 0.0, why, ceiling=True)


def _row(liars: float, adversary: Adversary, policy: str, cell: Cell) -> Row:
    return {
        "liars": liars,
        "adversary": adversary.name,
        "policy": policy,
        "error": cell.error,
        "standard_error": cell.standard_error,
        "overhead": cell.overhead,
    }
