"""The `peer trust` commands and `peer ledger`: their options, and what they do."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from cli.console import print_json, say, show
from cli.exits import WrongUse

if TYPE_CHECKING:
    from peer.control_client import ControlClient
    from peer.trust_views import TrustCase

app = typer.Typer(
    help="What this peer has found out about others as workers; who is banned, who is paired.", no_args_is_help=True
)

# Typer reads these annotations when the program runs, so `Optional` and not `| None`.
Data = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--data", metavar="DIR", help="Data folder of the peer. (default: PEER_DATA, or your own)"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Peer = Annotated[str, typer.Argument(help="The peer's id, or the beginning or end of it.", metavar="PEER")]

_UNITS_S = {"m": 60.0, "h": 3600.0, "d": 86400.0}
BAN_S_MAX = 3650 * 86400.0


@app.command("list")
def list_trust(data: Data = None, as_json: Json = False) -> None:
    """Everybody who ever worked for jobs of this peer, those banned first."""
    views = _client(data).trust()
    if as_json:
        print_json(views)
        return
    from cli.trust_show import trust_table

    show(trust_table(views))


@app.command("show")
def show_trust(peer: Peer, data: Data = None, as_json: Json = False) -> None:
    """One peer, with the evidence behind its numbers."""
    _show(_client(data).trust_case(peer), as_json=as_json)


@app.command()
def ban(
    peer: Peer,
    period: Annotated[str, typer.Option("--for", metavar="TIME", help="How long, as in 90m, 12h or 30d.")] = "30d",
    reason: Annotated[str, typer.Option(help="Kept as evidence.")] = "the owner said so",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Give a peer no work; what running jobs took on its word alone is done again."""
    from peer.trust_views import TrustAction

    action = TrustAction(action="ban", seconds=_seconds(period), reason=reason)
    _show(_client(data).judge(peer, action), as_json=as_json)


@app.command()
def pair(peer: Peer, data: Data = None, as_json: Json = False) -> None:
    """Trust a peer whose owner you know: its results are audited at the lowest rate. A ban of it is over."""
    from peer.trust_views import TrustAction

    _show(_client(data).judge(peer, TrustAction(action="pair")), as_json=as_json)


@app.command()
def forget(peer: Peer, data: Data = None, as_json: Json = False) -> None:
    """Forget a peer: its ban, pairing, clean results and evidence. It is a stranger then."""
    from peer.trust_views import TrustAction

    case = _client(data).judge(peer, TrustAction(action="forget"))
    if as_json:
        print_json(case)
    else:
        say(f"{case.trust.peer} is a stranger now")


def ledger(data: Data = None, as_json: Json = False) -> None:
    """Credits by peer: earned with work for it, spent on its work, pending in jobs that run."""
    views = _client(data).ledger()
    if as_json:
        print_json(views)
        return
    from cli.trust_show import ledger_table

    show(ledger_table(views))


def _client(data: Path | None) -> "ControlClient":
    from peer.control_client import ControlClient
    from peer.data_folder import DataFolder, default_data_folder

    return ControlClient(DataFolder(data if data is not None else default_data_folder()).socket())


def _show(case: "TrustCase", *, as_json: bool) -> None:
    if as_json:
        print_json(case)
        return
    from cli.trust_show import case_table

    show(case_table(case))


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([mhd])", text.strip())
    seconds = float(found[1]) * _UNITS_S[found[2]] if found else 0.0
    if not 0 < seconds <= BAN_S_MAX:
        raise WrongUse(f"--for takes a time such as 90m, 12h or 30d (at most {BAN_S_MAX / 86400:.0f}d), not {text!r}")
    return seconds
