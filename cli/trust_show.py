"""How trust and the ledger look on a terminal."""

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import clean
from cli.text import count, seconds, short_peer
from peer.trust_views import LedgerView, TrustCase, TrustView

DAY_S = 86400


def trust_table(views: Sequence[TrustView]) -> RenderableType:
    """Everybody, a line each."""
    if not views:
        return Text("No other peer has worked for a job of this one yet.")
    table = Table("peer", "standing", box=None)
    for name in ("clean results", "checked here", "offences"):
        table.add_column(name, justify="right")
    table.add_column("seen")
    table.add_column("", overflow="fold")
    for one in views:
        table.add_row(short_peer(one.peer), _standing(one), *_numbers(one), _seen(one), clean(one.reason))
    return table


def case_table(case: TrustCase) -> RenderableType:
    """One peer and its evidence."""
    one = case.trust
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("peer", one.peer)
    table.add_row("standing", _standing(one))
    if one.reason:
        table.add_row("", clean(one.reason))
    results, audits, offences = _numbers(one)
    table.add_row("clean results", f"{results} that count now; {audits} of its results were executed again here")
    table.add_row("offences", offences)
    table.add_row("evidence", count(len(case.evidence), "entry", "entries"))
    lines = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for entry in case.evidence:
        job = f"job {entry.job[:12]}" if entry.job else ""
        lines.add_row(_time(entry.at_unix_s), entry.kind, clean(job), clean(entry.text))
    return Group(table, lines)


def ledger_table(views: Sequence[LedgerView]) -> RenderableType:
    """Credits by peer."""
    if not views:
        return Text("No credits yet: neither has this peer worked for others nor others for it.")
    table = Table("peer", box=None)
    for name in ("earned", "spent", "balance", "pending", "receipts"):
        table.add_column(name, justify="right")
    for one in views:
        sums = (one.earned, one.spent, one.balance, one.pending)
        table.add_row(short_peer(one.peer), *(f"{value:.2f}" for value in sums), str(one.receipts))
    return table


def _standing(one: TrustView) -> Text:
    if one.banned_for_s > 0:
        left = one.banned_for_s
        return Text(f"banned for {left / DAY_S:.0f} d" if left >= DAY_S else f"banned for {seconds(left)}", "red")
    return Text("paired", "green") if one.paired else Text("known" if one.clean >= 1 else "stranger")


def _numbers(one: TrustView) -> tuple[str, str, str]:
    return f"{one.clean:,.0f}", f"{one.audits:,}", f"{one.offences:,}"


def _seen(one: TrustView) -> str:
    return _time(one.seen_unix_s) if one.seen_unix_s else "never"


def _time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s).strftime("%Y-%m-%d %H:%M")
