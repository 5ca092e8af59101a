"""Accepted error against overhead: the adaptive policy beside BOINC's, quorums and no verification at all.

Every adversary against every policy, in a network of new peers and in one where all were honest for long before the
liars turned. Two claims are held: where the plan promised the target, the error is within it; and against liars that
lie now and then or that sleep, the adaptive policy has fewer wrong results than BOINC's, at no more overhead.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from protocol.adaptive import Adaptive
from protocol.planner import AUDIT_MIN, AUDIT_SHARE, Target, dues_by_votes
from protocol.verification import NoVerification, Quorum, VerificationPolicy
from simulations.charts import Chart
from simulations.experiments.outcome import Line, Outcome
from simulations.experiments.rivals import ADVERSARIES, STANDARD_ERRORS, Adversary, Cell, Network, Sizes, boinc_cell
from simulations.plots import Point
from simulations.result import Row

LIARS_QUICK, LIARS_FULL = (0.2,), (0.1, 0.2, 0.3)
TARGETS = (1e-2, 1e-3)
COMPARED_TARGET = TARGETS[0]
QUICK = Sizes(workers=10, seeds=2, fresh=150, history=400, jobs=(100, 100), plain=60)
FULL = Sizes(workers=20, seeds=4, fresh=150, history=1000, jobs=(200, 400), plain=40)
FRESH, LIVED = "new peers", "long honest, then turned"
BOINC = "BOINC adaptive"
TO_BEAT = ("intermittent 0.01", "intermittent 0.1", "whitewasher", "sleeper")


@dataclass(frozen=True, slots=True)
class Result:
    """One cell with its place."""

    network: str
    liars: float
    adversary: str
    policy: str
    cell: Cell

    @property
    def label(self) -> str:
        """Where it is."""
        return f"{self.network}, f={self.liars}, {self.adversary}"


def run(quick: bool) -> Outcome:
    """A fifth of liars and short lives when quick."""
    sizes = QUICK if quick else FULL
    results = [one for liars in (LIARS_QUICK if quick else LIARS_FULL) for one in _results(liars, sizes)]
    lines = [*_promises(results), *_comparisons(results, sizes)]
    notes = (
        f"{sizes.workers} workers, {sizes.seeds} seeds. {FRESH}: one job of {sizes.fresh} chunks per worker. {LIVED}: "
        f"{sizes.history} honest chunks per worker, then jobs of {sizes.jobs}; bans are kept, nothing fades. "
        "f is also what the plan assumes.",
        f"Accepted: an error that is above its ceiling by at most {STANDARD_ERRORS:g} standard errors between seeds. "
        "Upper bounds in the table: the same, and at least 3 / chunks.",
        "Liars say the same, but for the constant one. Only whitewashers and self-dealers come back when caught. A "
        "receipt introduces only whom an issuer known here has paid, so a self-dealer is a newcomer that lies at once.",
        "BOINC bans nobody, and who is caught begins again from zero, so its whitewasher is its intermittent liar.",
    )
    charts = tuple(_chart(network, results) for network in (FRESH, LIVED))
    title = "accepted error against overhead, by policy and adversary"
    return Outcome("verification", title, tuple(lines), notes, charts, {"cells": [_row(one) for one in results]})


def _results(liars: float, sizes: Sizes) -> Iterator[Result]:
    adaptive = [Adaptive(Target(max_error=error, assume_liars=liars)) for error in TARGETS]
    networks = {_name(one): Network(one, liars, sizes) for one in adaptive}
    plain = {_name(one): Network(one, liars, sizes) for one in (Quorum(2), Quorum(3), NoVerification())}
    for adversary in ADVERSARIES:
        for name, network in networks.items():
            yield Result(FRESH, liars, adversary.name, name, network.fresh(adversary))
            yield Result(LIVED, liars, adversary.name, name, network.lived(adversary))
        for name, network in plain.items():
            yield from _both(liars, adversary, name, network.fresh(adversary))
        for lived in (False, True):
            found = boinc_cell(adversary, liars, sizes, lived=lived)
            yield Result(LIVED if lived else FRESH, liars, adversary.name, BOINC, found)


def _both(liars: float, adversary: Adversary, name: str, found: Cell) -> Iterator[Result]:
    """A policy without memory treats new peers and old ones alike."""
    for network in (FRESH, LIVED):
        yield Result(network, liars, adversary.name, name, found)


def _name(policy: VerificationPolicy) -> str:
    return f"{policy.name} {policy.target.max_error:g}" if isinstance(policy, Adaptive) else policy.name


def _promises(results: list[Result]) -> Iterator[Line]:
    """Each cell of ours; where the plan promised the target, it is a ceiling for the error and for the job's report."""
    ours = [one for one in results if one.policy.startswith("adaptive")]
    for one in ours:
        label = f"{one.label}, {one.policy}: error (x{one.cell.overhead:.2f})"
        if one.cell.promised:
            within = STANDARD_ERRORS * one.cell.standard_error
            yield Line(label, one.cell.error, _target_of(one), within, ceiling=True)
        else:
            yield Line(label, one.cell.error, why="the plan did not promise this target")
    promised = [one for one in ours if one.cell.promised]
    excess = max((one.cell.bound / _target_of(one) for one in promised), default=0.0)
    beyond = sum(one.cell.bound > _target_of(one) for one in promised)
    yield Line(f"of {len(promised)} promised cells, those whose report then allows more", beyond, 0.0)
    yield Line("promised cells: the most that a report allows, over the target", excess, 1.0, ceiling=True)


def _target_of(one: Result) -> float:
    return float(one.policy.split()[1])


def _comparisons(results: list[Result], sizes: Sizes) -> Iterator[Line]:
    found = {(one.label, one.policy): one for one in results}
    dominated = compared = 0
    for one in results:
        if one.policy != BOINC or one.adversary not in TO_BEAT:
            continue
        ours, theirs = found[one.label, f"adaptive {COMPARED_TARGET:g}"].cell, one.cell
        compared += 1
        dominated += ours.error < theirs.error and ours.overhead <= theirs.overhead
        yield from _against(one, ours, theirs, sizes)
    yield Line(f"of {compared} cells, those where ours has less error and no more overhead than BOINC", dominated)


def _against(one: Result, ours: Cell, theirs: Cell, sizes: Sizes) -> Iterator[Line]:
    within = STANDARD_ERRORS * (ours.standard_error**2 + theirs.standard_error**2) ** 0.5
    label = f"{one.label}, ours over BOINC"
    yield Line(f"{label}: error", ours.error, theirs.error, within, ceiling=True)
    why = _why_dearer(one, sizes) if ours.overhead > theirs.overhead else ""
    yield Line(f"{label}: overhead", ours.overhead, theirs.overhead, 0.0, why, ceiling=True)


def _why_dearer(one: Result, sizes: Sizes) -> str:
    if one.network == FRESH:
        dues = dues_by_votes(Target(max_error=COMPARED_TARGET, assume_liars=one.liars))
        return f"does not dominate: newcomers pay dues of {dues:.3g} checked results each, BOINC's ten"
    floor = 1 + AUDIT_MIN + AUDIT_SHARE / sizes.workers
    return (
        f"does not dominate: q_min and background audits make {floor:.3f} for good, where BOINC's checks fade on, and "
        "what liars gave who are caught is done again"
    )


def _row(one: Result) -> Row:
    return {
        "network": one.network,
        "liars": one.liars,
        "adversary": one.adversary,
        "policy": one.policy,
        "chunks": one.cell.chunks,
        "error": one.cell.error,
        "standard_error": one.cell.standard_error,
        "error_upper": one.cell.upper,
        "overhead": one.cell.overhead,
        "promised": one.cell.promised,
        "reported_bound": one.cell.bound,
    }


def _chart(network: str, results: list[Result]) -> Chart:
    """Upper bounds, so that no cell without a wrong result is lost on the logarithmic axis."""
    mine = [one for one in results if one.network == network]
    policies = list(dict.fromkeys(one.policy for one in mine))
    curves = {
        policy: tuple(Point(one.cell.overhead, one.cell.upper, 0.0) for one in mine if one.policy == policy)
        for policy in policies
    }
    labels = ("executions per chunk", "share wrong, upper bound (95 %)")
    name = "fresh" if network == FRESH else "lived"
    return Chart(
        name, f"Each adversary and share of liars: {network}", labels, curves, frozenset(policies), (False, True)
    )
