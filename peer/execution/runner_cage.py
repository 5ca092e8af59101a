"""Inside the sandbox, before any foreign code: give up the last powers, set limits, check that it all holds."""

import os
import resource
from collections.abc import Mapping

_WANTED_STATUS = {"NoNewPrivs": "1", "Seccomp": "2", "CapEff": "0000000000000000", "CapPrm": "0000000000000000"}

# The last one is how the number of root, without any of its powers, still gets out.
_READ_ONLY = ("/", "/dev", "/usr", "/etc", "/proc/sys/kernel/core_pattern")


def enter(uid: int | None, limits: dict[str, int], wall: Mapping[str, object] | None = None) -> None:
    """Become `uid` (when still root), take the limits, build the wall where nothing outside has built one.

    Raises `RuntimeError` when the cage has a hole.
    """
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))
    # Opened before the wall, behind which there is no /proc, and read after it.
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - pathlib takes longer to load than all of this
        if wall is not None:
            from peer.execution import landlock_wall

            landlock_wall.build(wall)
        _check(status.read().splitlines())


def _check(lines: list[str]) -> None:
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    wrong = [f"{name} is {status.get(name)}" for name, wanted in _WANTED_STATUS.items() if status.get(name) != wanted]
    if 0 in os.getresuid():
        wrong.append("the user is root")
    wrong += [f"{path} can be written to" for path in _READ_ONLY if os.access(path, os.W_OK)]
    if wrong:
        raise RuntimeError(f"the sandbox does not hold: {', '.join(wrong)}")
