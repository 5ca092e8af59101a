"""The tables that the `peer` command prints. What is shown comes from `peer/views.py` and nowhere else."""

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.console import clean
from cli.text import (
    MARK,
    availability_line,
    count,
    fault_mark,
    funnel_line,
    seconds,
    short_peer,
    size,
    with_names,
    worker_name,
)
from peer.kept_view import KeptView
from peer.sandbox_words import WEAKNESS
from peer.views import AskedView, ComplaintView, JobState, JobView, PeerView, StatusView, WorkerView
from protocol.plan_words import share

STORY_LINES_MAX = 200
_STATE_STYLE = {
    JobState.DONE: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
    JobState.STOPPED: "yellow",
    JobState.INTERRUPTED: "yellow",
    JobState.PAUSED: "yellow",
}


def status_table(status: StatusView) -> RenderableType:
    """One peer."""
    table = _pairs()
    table.add_row("peer", status.peer)
    if status.fault:
        table.add_row("", Text(fault_mark(status.fault), "bold yellow"))
    table.add_row("running", f"{seconds(status.uptime_s)}, process {status.pid}, version {status.version}")
    table.add_row("data folder", status.data_folder)
    table.add_row("listens at", "\n".join(status.addresses) or "nowhere; others cannot reach this peer")
    table.add_row("network", f"{count(status.connected, 'peer')} connected, {status.dht_contacts} known, "
                  f"{count(status.records, 'directory record')} kept for others")  # fmt: skip
    table.add_row("offers", f"{runtimes_in_words(status.runtimes) or 'nothing'} in sandbox {status.sandbox or 'none'}")
    if status.sandbox in WEAKNESS:
        table.add_row("", Text(f"{status.sandbox} is {WEAKNESS[status.sandbox]}", "yellow"))
    table.add_row("slots", f"{status.slots_busy} of {status.slots} busy, {count(status.leases, 'lease')}")
    working = status.availability.why_not is None
    table.add_row("now", Text(availability_line(status.availability), "" if working else "yellow"))
    table.add_row("allowed", status.limits)
    if status.asked:
        table.add_row("asked", f"{count(status.asked, 'peer')} would like to be let in: `peer requests`")
    table.add_row("price", f"{status.price:g} credits per reference-second, speed {status.speed:.2f}")
    table.add_row("work done", f"{count(status.chunks_run, 'chunk')}, {status.credits_earned:.2f} credits earned")
    if status.kept:
        table.add_row("keeps", _kept_in_words(status.kept))
    table.add_row("own jobs", f"{status.jobs_running} running")
    if status.complaint:
        table.add_row("found wrong", Text(_complaint_in_words(status.complaint, status.complaints), "yellow"))
    if status.bootstrap:
        table.add_row("to join it", "\n".join(f"--bootstrap {address}" for address in status.bootstrap))
    return table


def runtimes_in_words(runtimes: Sequence[str]) -> str:
    """`python 3.11.7, blender 4.5.15, commands (ffmpeg, gcc)`: of programs the names alone."""
    programs = [one.split(" ")[0].partition(":")[2] for one in runtimes if one.startswith("command:")]
    plain = [one for one in runtimes if not one.startswith("command:")]
    return ", ".join([*plain, *([f"commands ({', '.join(programs)})"] if programs else [])])


def peers_table(peers: Sequence[PeerView]) -> RenderableType:
    """What the directory knows."""
    if not peers:
        return Text("No other peer is known. Start one with --bootstrap, as `peer status` of this one shows.")
    table = Table("peer", box=None)
    table.add_column("reachable", no_wrap=True)
    for name in ("runtimes", "sandbox", "slots", "price", "speed", "memory"):
        table.add_column(name)
    table.add_column("address", overflow="fold")
    for one in peers:
        table.add_row(
            short_peer(one.peer),
            _reachability(one),
            clean(runtimes_in_words(one.runtimes)) or "-",
            clean(one.sandbox) or "-",
            str(one.slots or "resting"),
            f"{one.price:g}",
            f"{one.speed:.2f}",
            clean(", ".join([size(one.memory_bytes), *one.gpus])),
            clean(one.addresses[0]) if one.addresses else "-",
        )
        for note in filter(None, (fault_mark(one.fault), f"banned here: {one.banned}" if one.banned else "")):
            table.add_row("", Text(clean(note), "yellow"))
    return table


def requests_table(asked: Sequence[AskedView]) -> RenderableType:
    """Who waits for the owner's leave."""
    if not asked:
        return Text("Nobody waits to be let in.")
    table = Table("peer", box=None)
    table.add_column("calls", justify="right")
    table.add_column("first")
    table.add_column("last")
    for one in asked:
        times = (datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M") for at in (one.first_unix_s, one.last_unix_s))
        table.add_row(one.peer, f"{one.calls:,}", *times)
    return table


def jobs_table(jobs: Sequence[JobView]) -> RenderableType:
    """The jobs of one peer."""
    if not jobs:
        return Text("No jobs yet. Submit one with `peer submit python job.py --map inputs.jsonl`.")
    table = Table("job", "name", "state", "items", "failed", "time", "submitted", "", box=None)
    for job in jobs:
        table.add_row(
            job.id[:12],
            clean(job.name),
            Text(job.state, _STATE_STYLE.get(job.state, "cyan")),
            f"{job.items_done}/{job.items}",
            str(job.items_failed),
            seconds(job.elapsed_s),
            datetime.fromtimestamp(job.submitted_at_unix_s).strftime("%Y-%m-%d %H:%M:%S"),
            clean(with_names(job.message, job)),
        )
    return table


def job_report(job: JobView) -> RenderableType:
    """One job: what came of it, who worked on it, what was caught."""
    title = Text(clean(f"{job.name}: {job.state}"))
    style = _STATE_STYLE.get(job.state, "cyan")
    parts: list[RenderableType] = [
        Panel(_job_table(job), title=title, title_align="left", border_style=style, expand=False)
    ]
    if job.workers:
        parts.append(workers_table(job.workers))
    return Group(*parts)


def story(job: JobView, lines_max: int = STORY_LINES_MAX) -> RenderableType:
    """The last lines of a job's story."""
    return Text("\n".join(clean(with_names(line, job)) for line in job.events[-lines_max:]), "dim")


def workers_table(workers: Sequence[WorkerView]) -> RenderableType:
    """Who worked on a job; what is to be said of one of them is below, so that the table fits 80 columns."""
    table = Table("worker", box=None, pad_edge=False)
    table.add_column("state", no_wrap=True)
    for name in ("slots", "chunks", "items", "computing", "paid", "credits", "checked"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in workers:
        state = one.state.partition(":")[0]
        table.add_row(
            worker_name(one),
            Text(clean(state), "red" if state == "banned" else ""),
            str(one.slots),
            str(one.chunks_done),
            str(one.items_done),
            seconds(one.compute_s),
            "-" if one.local else f"{one.price:.2f}",
            "-" if one.local else f"{one.credits:.2f}",
            str(one.audits),
        )
    return Group(table, *(Text(f"{worker_name(one)}: {note}", "yellow") for one in workers if (note := _note(one))))


def _note(one: WorkerView) -> str:
    notes = [
        fault_mark(one.fault),
        one.state if ":" in one.state else "",
        count(one.failures, "failure") if one.failures else "",
        f"{count(one.revoked, 'chunk')} revoked" if one.revoked else "",
    ]
    return clean("; ".join(filter(None, notes)))


def _job_table(job: JobView) -> Table:
    table = _pairs()
    table.add_row("job", job.id)
    if job.message:
        table.add_row("", clean(with_names(job.message, job)))
    failed = f", {job.items_failed:,} failed" if job.items_failed else ""
    table.add_row("items", f"{job.items_done:,} of {job.items:,} done{failed}")
    table.add_row("chunks", ", ".join(f"{number} {state}" for state, number in job.chunks.items() if number) or "none")
    table.add_row("workers", _workers_in_words(job))
    table.add_row("auction", funnel_line(job.funnel))
    table.add_row("time", f"{seconds(job.elapsed_s)} for {seconds(job.compute_s)} of computing")
    table.add_row("speed-up", f"{job.speed_up:.2f} times one machine of this kind alone")
    forfeit = sum(one.forfeited for one in job.workers)
    forfeited = f"; {forfeit:.2f} forfeited by banned peers" if forfeit else ""
    table.add_row("price", f"{job.price:.2f} credits for {job.credits:.2f} verified reference-seconds{forfeited}")
    table.add_row("verification", f"{job.verify}: {count(job.audits, 'audit')}, {count(job.votes, 'vote')}, "
                  f"{count(job.mismatches, 'mismatch', 'mismatches')}")  # fmt: skip
    if job.compare != "exact":
        table.add_row("comparison", clean("; ".join(filter(None, (job.compare, job.comparison)))))
    if job.error_bound is not None:
        table.add_row("wrong results", _bound_in_words(job))
    table.add_row("overhead", f"{job.overhead:.2f} executions per item ({job.executions:,} in all)")
    if job.liars:
        caught = ", ".join(short_peer(peer) for peer in job.liars)
        redone = f"{count(job.revoked, 'chunk')} of theirs thrown away and redone"
        table.add_row("liars caught", Text(f"{MARK} {count(len(job.liars), 'liar')}: {caught}; {redone}", "bold red"))
    if job.doubtful:
        lost = f"{count(job.doubtful, 'result')} on the word of a peer found lying since"
        table.add_row("in doubt", Text(f"{MARK} {lost}: `peer job retry {job.id[:12]}` does them again", "bold red"))
    if job.resumes:
        table.add_row("resumed", _resumed_in_words(job))
    if job.retries and job.state.is_final:
        table.add_row("retried", _retried_in_words(job))
    if job.bytes_sent or job.bytes_received:
        table.add_row("traffic", f"{size(job.bytes_sent)} sent, {size(job.bytes_received)} received")
    return table


def _resumed_in_words(job: JobView) -> str:
    words = f"{count(job.resumes, 'time')}; what was done before was not done again"
    givers = [one.handed_over for one in job.workers if one.handed_over]
    handed_over = f"; {count(sum(givers), 'result')} handed over by {count(len(givers), 'peer')}" if givers else ""
    return words + handed_over


def _kept_in_words(kept: Sequence[KeptView]) -> str:
    results, peers = sum(one.results for one in kept), ", ".join(short_peer(one.coordinator) for one in kept[:3])
    more = f" and {len(kept) - 3} more" if len(kept) > 3 else ""
    sizes = size(sum(one.size_bytes for one in kept))
    return f"{count(results, 'result')} ({sizes}) for {peers}{more}, gone before they were handed over"


def _bound_in_words(job: JobView) -> str:
    reached = job.error_bound or 0.0
    bound = f"at most {share(reached)} expected if {share(job.assume_liars)} of the peers lie"
    if job.verify != "adaptive":
        return bound
    missed = "" if reached <= job.max_error else ", not reached"
    return f"{bound} (target {share(job.max_error)}{missed})"


def _complaint_in_words(last: ComplaintView, number: int) -> str:
    at = datetime.fromtimestamp(last.at_unix_s).strftime("%Y-%m-%d %H:%M:%S")
    more = f"; {count(number, 'complaint')} in all" if number > 1 else ""
    return clean(f"{last.text} ({short_peer(last.coordinator)} said so at {at}{more})")


def _retried_in_words(job: JobView) -> str:
    times = "once" if job.retries == 1 else f"{job.retries} times"
    at = datetime.fromtimestamp(job.ended_at_unix_s).strftime("%Y-%m-%d %H:%M:%S")
    again = f"`peer job results {job.id[:12]} --out DIR --force`"
    return f"{times}; files written before {at} are old, {again} writes them anew"


def _workers_in_words(job: JobView) -> str:
    others = sum(1 for one in job.workers if not one.local)
    here = "this machine" if len(job.workers) > others else ""
    return " and ".join(filter(None, [here, count(others, "other peer") if others else ""])) or "none"


def _pairs() -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _reachability(one: PeerView) -> Text:
    if one.banned:
        return Text("banned", "red")
    if one.reachable is not False and one.connected:
        return Text("connected", "green")
    return {True: Text("yes", "green"), False: Text("no answer", "red"), None: Text("not tried")}[one.reachable]
