"""T2: how many passed checks Sarmenta's credibility asks for, by the formulas F4 and F5."""

from simulations.experiments.outcome import Line, Outcome
from simulations.formulas import checks_for

ERROR_MAX = 1e-6
EXPECTED = {0.1: (40_876, 41, 5), 0.2: (91_970, 92, 10), 0.3: (157_663, 158, 16)}
"""By the share of liars: checks for a single result, for each of two that agree, for each of three."""
_NEGLECTED = "92 leaves out the denominator of F5; in full, 92 checks give an error of 1.0013e-6"
_ROUNDED = {(0.2, 2): _NEGLECTED}


def run(quick: bool) -> Outcome:
    """Evaluate the formulas: the same in both forms."""
    lines = [
        Line(
            f"f={liars}, {agreeing} agreeing",
            checks_for(ERROR_MAX, liars, agreeing),
            expected,
            within=0.0,
            why=_ROUNDED.get((liars, agreeing), ""),
        )
        for liars, row in EXPECTED.items()
        for agreeing, expected in enumerate(row, 1)
    ]
    notes = ("Checks with blacklisting (F4), full collusion, target 1e-6. No rule of the network is involved yet.",)
    return Outcome("t2", "checks needed by credibility, F4 and F5", tuple(lines), notes)
