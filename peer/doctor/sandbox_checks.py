"""The doctor tries each kind of sandbox for real, and says which runtimes are offered in it and which are not."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from peer.doctor.check import Check, Level, ok, problem, unknown, warning
from peer.execution.executor import SandboxedExecutor
from peer.execution.sandbox import SANDBOX_NAME, find_bubblewrap
from peer.execution.tiers import TIERS, Trial, try_tier
from peer.owner_settings import SANDBOX_AUTO, OwnerSettings
from peer.runtimes.base import Runtime
from peer.runtimes.registry import all_runtimes
from peer.sandbox_words import WEAKNESS
from protocol.errors import LocalError

_FOR_WHAT = "without one this peer can submit, but not work for others"


def sandbox_checks(settings: OwnerSettings) -> Iterator[Check]:
    """Each kind, what the kernel bounds, and what is offered. Takes about 0.3 s."""
    yield bubblewrap_check()
    trials = [try_tier(name) for name in TIERS]
    usable = [one for one in trials if one.launcher is not None and settings.sandbox in (SANDBOX_AUTO, one.name)]
    for trial in trials:
        yield tier_check(trial, usable, settings.sandbox)
    yield cgroup_check()
    yield from runtime_checks(usable, settings)


def bubblewrap_check() -> Check:
    """Whether the program is there; whether it works is the next question."""
    try:
        return ok("bubblewrap", str(find_bubblewrap()))
    except LocalError as error:
        found, _, way_out = str(error).partition("; ")
        return warning("bubblewrap", found, way_out)


def tier_check(trial: Trial, usable: Sequence[Trial], setting: str) -> Check:
    """One kind, tried; its failure is a problem where no other one serves."""
    name = f"sandbox {trial.name}"
    if trial.launcher is not None:
        note = f"works, {WEAKNESS[trial.name]}" if trial.name in WEAKNESS else "works"
        refused = setting not in (SANDBOX_AUTO, trial.name)
        return ok(name, f"{note}; not used, as the setting sandbox = {setting} says" if refused else note)
    found, _, way_out = trial.problem.partition("; ")
    if not usable:
        return problem(name, f"{found}; {_FOR_WHAT}", way_out or found)
    if usable[0].name == SANDBOX_NAME:
        return ok(name, f"not needed, since {SANDBOX_NAME} works; it would not: {found}")
    return warning(name, found, way_out or "see the reason")


def cgroup_check() -> Check:
    """Whether the kernel could bound memory and processor time of all processes of a job together."""
    own = next((line[3:] for line in _lines(Path("/proc/self/cgroup")) if line.startswith("0::")), None)
    controllers = " ".join(_lines(Path(f"/sys/fs/cgroup{own or ''}/cgroup.controllers"))).split()
    there = f"with {', '.join(controllers)}" if controllers else "without controllers of version 2"
    return ok("cgroup", f"{there}; not used: memory and processor time of jobs are watched 20 and 10 times a second")


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []


def runtime_checks(usable: Sequence[Trial], settings: OwnerSettings) -> Iterator[Check]:
    """Each runtime: what of it is offered, or why it is not."""
    launcher = usable[0].launcher if usable else None
    for runtime in all_runtimes(settings.programs):
        yield _runtime_check(runtime, SandboxedExecutor([runtime], launcher=launcher) if launcher else None, settings)


def _runtime_check(runtime: Runtime, executor: SandboxedExecutor | None, settings: OwnerSettings) -> Check:
    name = f"runtime {runtime.name}"
    if settings.runtimes is not None and runtime.name not in settings.runtimes:
        return ok(name, f"not offered, as the setting runtimes = {','.join(settings.runtimes)} says")
    if executor is None:
        return unknown(name, "not offered: there is no sandbox for it", "see what is said of sandboxes above")
    probe = runtime.probe()
    if not probe.versions:
        return Check(name=name, level=Level.OK, found=f"not offered: {probe.problem}", fix=probe.fix)
    offers = executor.offers()
    if not offers:
        return warning(name, "not offered: it needs bubblewrap", "see what is said of sandboxes above")
    return ok(name, f"{', '.join(f'{one.name} {one.version}' for one in offers)} in {offers[0].sandbox}")
