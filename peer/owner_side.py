"""The owner's side of a peer's worker: when it works, for whom, and in runners that hold back."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from peer.accept import Accept
from peer.owner_settings import OwnerSettings
from peer.presence import Senses
from peer.seam import Executor
from protocol.availability import AvailabilityRules


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerSide:
    """What a node needs of it besides the worker's policy."""

    executor: Executor
    """For the work of others; the owner's own jobs use the seam's, which knows no limits."""
    hold_back: Callable[..., Awaitable[object]]
    """Runs beside the peer, for as long as it does."""
    senses: Senses
    rules: AvailabilityRules
    accept: Accept
    in_words: str


def rules_of(settings: OwnerSettings) -> AvailabilityRules:
    """When the worker may work."""
    return AvailabilityRules(schedule=settings.schedule, when_idle=settings.when_idle, on_battery=settings.on_battery)


def in_words(settings: OwnerSettings) -> str:
    """The settings that hold back, for people."""
    hours = f"hours {settings.schedule}" if settings.schedule.windows else ""
    return ", ".join(
        filter(
            None,
            (
                hours,
                "only when idle" if settings.when_idle else "",
                "on battery too" if settings.on_battery else "",
                f"at most {settings.max_cpu:.0%} of the time" if settings.max_cpu < 1 else "",
                f"priority {settings.nice}" if settings.nice else "",
                {Accept.ANYONE: "for anyone", Accept.PAIRED: "for paired peers", Accept.ASK: "for who is let in"}[
                    settings.accept
                ],
            ),
        )
    )
