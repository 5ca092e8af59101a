"""The kinds of sandbox in the order of their strength, each tried for real before it is used."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from peer.execution.landlock_launch import LANDLOCK_NAME, LandlockLauncher
from peer.execution.launch import Launcher, SandboxLauncher
from peer.execution.probe import try_sandbox
from peer.execution.sandbox import SANDBOX_NAME
from peer.owner_settings import SANDBOX_AUTO
from peer.sandbox_words import WEAKNESS
from protocol.errors import LocalError

TIERS: Mapping[str, Callable[[], SandboxLauncher]] = {SANDBOX_NAME: Launcher, LANDLOCK_NAME: LandlockLauncher}
"""By the name in capability records, the strongest first."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of trying one kind; its launcher if it works, else why not and what helps."""

    name: str
    launcher: SandboxLauncher | None
    problem: str = ""


def try_tier(name: str) -> Trial:
    """Start one sandbox of that kind. Takes about 50 ms, at most `START_TIMEOUT_S` on a broken machine."""
    try:
        launcher = TIERS[name]()
        try_sandbox(launcher)
    except LocalError as error:
        return Trial(name, None, str(error))
    return Trial(name, launcher)


def try_tiers(wanted: str) -> Iterator[Trial]:
    """Those that the owner's setting allows, one after the other, the strongest first."""
    yield from map(try_tier, TIERS if wanted == SANDBOX_AUTO else (wanted,))


def in_words(trials: list[Trial]) -> str:
    """Which one works and how good it is, with what stands in the way of better ones."""
    last = trials[-1]
    problems = [f"{one.name}: {one.problem}" if len(trials) > 1 else one.problem for one in trials if one.problem]
    if last.launcher is None:
        return "; ".join(problems)
    weakness = f" ({WEAKNESS[last.name]})" if last.name in WEAKNESS else ""
    return "; ".join([f"{last.name} works{weakness}", *problems])
