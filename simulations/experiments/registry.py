"""The experiments by name. A module is imported only when its experiment runs."""

from difflib import get_close_matches
from importlib import import_module
from typing import cast

from protocol.errors import LocalError
from simulations.experiments.outcome import Outcome

TITLES = {
    "v1": "Kademlia hops against the size of the network and of the buckets",
    "v7": "survival of a record under published churn, against the number of holders",
    "t1": "colluding liars against the first m equal results",
    "t4": "BOINC's adaptive replication and our policies against liars and a sleeper",
    "v2": "lookup times where 45 % of the contacts cannot be reached",
    "v6": "eclipse of a key by Sybils near it",
    "t2": "passed checks that credibility asks for",
    "worst_case": "the worst adversary against the design law, by search",
    "overhead_curve": "what honest peers cost as they earn trust",
    "false_alarms": "honest peers banned by the shipped rules",
    "verification": "accepted error against overhead, by policy and adversary",
    "against_boinc": "the adaptive policy against BOINC's at no more overhead",
}
_MODULES = {
    "v1": "hops",
    "v7": "survival",
    "t1": "m_first",
    "t4": "adaptive",
    "v2": "unreachable",
    "v6": "eclipse",
    "t2": "credibility",
    "worst_case": "worst_case",
    "overhead_curve": "overhead_curve",
    "false_alarms": "false_alarms",
    "verification": "verification",
    "against_boinc": "against_boinc",
}


def run(name: str, *, quick: bool = True) -> Outcome:
    """Run one experiment: seconds when quick (`verification`: half a minute), else up to minutes (that one: twelve).

    Raises `LocalError` for a name that is not known.
    """
    if name not in _MODULES:
        near = get_close_matches(name, _MODULES, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(TITLES)}"
        raise LocalError(f"there is no experiment {name!r}: {hint}")
    module = import_module(f"simulations.experiments.{_MODULES[name]}")
    return cast("Outcome", module.run(quick))
