"""What the owner of a running peer says to it: pause, resume, who is let in; and the settings in its file."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, TypeVar

import typer

from cli.console import clean, print_json, say, show
from cli.exits import WrongUse
from protocol.errors import LocalError

if TYPE_CHECKING:
    from peer.config_file import ConfigFile
    from peer.control_client import ControlClient
    from peer.views import AvailabilityView

PAUSE_S_MAX = 30 * 86400.0

config = typer.Typer(
    help="What this peer offers and when, for the next `peer start`; its options go before it.", no_args_is_help=True
)

# Typer reads these annotations when the program runs, so `Optional` and not `| None`.
Data = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--data", metavar="DIR", help="Data folder of the peer. (default: PEER_DATA, or your own)"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Key = Annotated[str, typer.Argument(help="An option of `peer start`, without its dashes, as in max-cpu.")]


def pause(
    period: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--for", metavar="TIME", help="How long, as in 30m or 2h. (default: until `peer resume`)"),
    ] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Work for nobody for a while: chunks go back to their owners at once. Your own jobs go on."""
    _show(_client(data).pause_work(_seconds(period)), as_json=as_json)


def resume(data: Data = None, as_json: Json = False) -> None:
    """End a pause."""
    _show(_client(data).resume_work(), as_json=as_json)


def requests(data: Data = None, as_json: Json = False) -> None:
    """Who has asked to use this machine and is not let in yet (`peer start --accept ask`)."""
    asked = _client(data).requests()
    if as_json:
        print_json(asked)
        return
    from cli.show import requests_table

    show(requests_table(asked))


def accept(
    peer: Annotated[str, typer.Argument(help="The peer's id, or the beginning or end of it.", metavar="PEER")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Let a peer that has asked use this machine from now on."""
    accepted = _client(data).accept(peer)
    if as_json:
        print_json({"accepted": accepted})
    else:
        say(f"{accepted} is let in from now on")


@config.command("show")
def config_show(data: Data = None, as_json: Json = False) -> None:
    """The settings in the file."""
    file = _file(data)
    values = _checked(file.read)
    if as_json:
        print_json(values)
    elif not values:
        say(f"nothing is set in {file.path}: the defaults hold")
    else:
        for key, text in values.items():
            print(clean(f"{key} = {text}"))  # noqa: T201 - the answer of this command


@config.command("set")
def config_set(
    key: Key,
    value: Annotated[str, typer.Argument(help="As on the command line, as in 50%; true or false for a switch.")],
    data: Data = None,
) -> None:
    """Set one; it holds from the next start on."""
    file = _file(data)
    _checked(lambda: file.set(key, value))
    say(f"{key} = {value.strip()} from the next start on")


@config.command("unset")
def config_unset(key: Key, data: Data = None) -> None:
    """Back to the default."""
    file = _file(data)
    was_set = _checked(lambda: file.unset(key))
    say(f"{key} is at its default from the next start on" if was_set else f"{key} was not set")


_T = TypeVar("_T")


def _checked(action: Callable[[], _T]) -> _T:
    """A setting that makes no sense is wrong use."""
    try:
        return action()
    except LocalError as error:
        raise WrongUse(str(error)) from error


def _seconds(period: str | None) -> float | None:
    from peer.owner_settings import parse_time

    if period is None:
        return None
    try:
        return parse_time(period, PAUSE_S_MAX)
    except LocalError as error:
        raise WrongUse(f"--for {error}") from error


def _show(view: "AvailabilityView", *, as_json: bool) -> None:
    if as_json:
        print_json(view)
        return
    from cli.text import availability_line

    say(availability_line(view))


def _client(data: Path | None) -> "ControlClient":
    from peer.control_client import ControlClient
    from peer.data_folder import DataFolder, default_data_folder

    return ControlClient(DataFolder(data if data is not None else default_data_folder()).socket())


def _file(data: Path | None) -> "ConfigFile":
    from peer.config_file import ConfigFile
    from peer.data_folder import DataFolder, default_data_folder

    return ConfigFile(DataFolder(data if data is not None else default_data_folder()).path)
