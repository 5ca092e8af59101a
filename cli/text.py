"""Small pieces of text that several commands show: ids, times, counts, the marks of peers that misbehave on purpose."""

from peer.views import AvailabilityView, Funnel, JobView, WorkerView

_FAULTS = {
    "lie": "lies",
    "collude": "lies together with others",
    "sleeper": "begins to lie after a while",
    "crash": "crashes",
    "hang": "hangs",
    "slow": "is slow",
}
MARK = "⚠"


def short_peer(peer: str) -> str:
    """The end of a peer id; the beginnings are alike."""
    return peer[-8:]


def fault_mark(fault: str | None) -> str:
    """How a peer that misbehaves on purpose is marked; empty for the others."""
    if not fault:
        return ""
    verb = _FAULTS.get(fault.partition(":")[0], "misbehaves")
    return f"{MARK} {verb} on purpose ({fault})"


def seconds(value: float) -> str:
    """A duration as people say it."""
    if value < 0.0995:
        return f"{value * 1000:.0f} ms" if value else "0 s"
    if value < 100:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def size(value: float) -> str:
    """A number of bytes as people say it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def count(number: int, one: str, many: str = "") -> str:
    """`1 chunk`, `2 chunks`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def funnel_line(funnel: Funnel) -> str:
    """How the auction narrowed down, in one line."""
    lacking = [f"{funnel.lacking} lacking something"] if funnel.lacking else []
    parts = [f"{funnel.found} found", *lacking, f"{funnel.reached} reached"]
    if funnel.unreachable:
        parts.append(f"{funnel.unreachable} unreachable")
    parts += [f"{number} refused ({reason})" for reason, number in sorted(funnel.refused.items())]
    parts.append(f"{funnel.bid} bid")
    if funnel.outbid:
        parts.append(f"{funnel.outbid} outbid")
    return ", ".join([*parts, f"{funnel.awarded} awarded"])


def availability_line(view: AvailabilityView) -> str:
    """Whether the worker works for others now, and if not, why and until when."""
    if view.why_not is None:
        return "it works for others"
    left = f", for {seconds(view.paused_for_s)} more" if view.paused_for_s is not None else ""
    way_out = "; `peer resume` ends that" if view.why_not.startswith("paused") else ""
    return f"it does not work for others: {view.why_not}{left}{way_out}"


def worker_name(worker: WorkerView) -> str:
    """The end of a worker's id, or what it is when it is this machine."""
    return "this machine" if worker.local else short_peer(worker.peer)


def with_names(text: str, view: JobView) -> str:
    """The text with whole peer ids cut to the part that the tables show."""
    for worker in view.workers:
        text = text.replace(worker.peer, short_peer(worker.peer))
    return text
