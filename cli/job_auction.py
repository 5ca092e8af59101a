"""`peer job auction JOB`: how the auction narrowed down, with a line for each candidate."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import clean
from cli.text import count, fault_mark, seconds, short_peer
from peer.views import CandidateView, Funnel, JobView

BAR_WIDTH = 30
_STYLES = {"awarded": "green", "refused": "yellow", "unreachable": "red", "left": "yellow", "outbid": "yellow"}


def auction_table(job: JobView) -> RenderableType:
    """The funnel and the candidates of one job."""
    parts: list[RenderableType] = [Text(clean(f"{job.name}: {job.state}"), "bold"), _funnel(job.funnel)]
    if job.candidates:
        parts.append(_candidates(job.candidates))
    else:
        parts.append(Text(_nobody(job)))
    return Group(*parts)


def _nobody(job: JobView) -> str:
    if job.funnel.found:
        return "The candidates of this job were not kept: it was run by an older version."
    if job.state.is_final:
        return "Nobody was found. Is another peer running, and known here? `peer peers` shows who is."
    return "Nobody was found yet. `peer peers` shows who is known here."


def _funnel(funnel: Funnel) -> RenderableType:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for name, number, why in _steps(funnel):
        bar = "█" * max(bool(number), round(BAR_WIDTH * number / max(1, funnel.found)))
        table.add_row(name, f"{number:,}", Text.assemble((bar, "cyan"), " " * bool(bar), why))
    return table


def _steps(funnel: Funnel) -> list[tuple[str, int, str]]:
    silent = f"{funnel.unreachable:,} unreachable" if funnel.unreachable else ""
    refused = ", ".join(f"{number:,} refused: {reason}" for reason, number in funnel.refused.items())
    outbid = f"{funnel.outbid:,} outbid" if funnel.outbid else ""
    return [
        ("found", funnel.found, ""),
        ("reached", funnel.reached, silent),
        ("bid", funnel.bid, clean(refused)),
        ("awarded", funnel.awarded, outbid),
    ]


def _candidates(candidates: list[CandidateView]) -> RenderableType:
    table = Table("candidate", box=None, pad_edge=False)
    table.add_column("state", no_wrap=True)
    for name in ("price", "paid", "speed", "slots", "clean"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for one in candidates:
        table.add_row(
            short_peer(one.peer),
            Text(clean(one.state), _STYLES.get(one.state, "")),
            f"{one.price:.2f}",
            "-" if one.paid is None else f"{one.paid:.2f}",
            f"{one.speed:.2f}",
            str(one.slots),
            "paired" if one.paired else f"{one.clean:,.0f}",
            clean(_why(one)),
        )
    return Group(table, Text(f"{count(len(candidates), 'candidate')}; prices are credits per reference-second", "dim"))


def _why(one: CandidateView) -> str:
    again = "" if one.again_s is None else "; called again " + (f"in {seconds(one.again_s)}" if one.again_s else "soon")
    mark = fault_mark(one.fault)
    return " ".join(
        filter(None, [mark, one.reason.replace(one.peer, short_peer(one.peer)) + (again if one.reason else "")])
    )
