"""When does an item take too long? Rules without I/O or clock, from the progress that a runner shows."""

from dataclasses import dataclass


@dataclass(slots=True)
class ItemWatch:
    """One chunk being run. The runner's own word on its progress counts only where it goes forward, within the
    chunk: so a job that fakes it gets at most the time limit for each item, which it has anyway.
    """

    count: int
    timeout_s: float
    started_at: float
    item: int = 0

    def observe(self, item: int | None, now: float) -> None:
        """The place of the item that runs now, as the runner shows it."""
        if item is not None and self.item < item < self.count:
            self.item, self.started_at = item, now

    @property
    def deadline(self) -> float:
        """When the item that runs has had its time."""
        return self.started_at + self.timeout_s
