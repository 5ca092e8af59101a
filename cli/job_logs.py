"""`peer job logs JOB`: what the job's code printed, wherever it ran; `--follow` goes on until the job has ended."""

import re
from collections.abc import Iterator

from cli.console import clean, print_json, say, write_lines
from cli.text import short_peer
from peer.control_client import ControlClient, LogRow

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles, links and other strings
    r"|\x1b[ -/]*[0-~]"
)


def show_logs(client: ControlClient, job: str, chunk: int | None, *, follow: bool, as_json: bool) -> None:
    """Print what there is, and with `follow` what comes until the job has ended."""
    found = client.job(job).id
    if as_json and not follow:
        print_json([row for rows in _pages(client, found, chunk, 0) for row in rows])
        return
    printed = 0
    for rows in _followed(client, found, chunk) if follow else _pages(client, found, chunk, 0):
        printed += len(rows)
        for row in rows:
            print_json(row) if as_json else write_lines(_lines(row))
    if not printed and not as_json:
        say("nothing was printed" + (f" by chunk {chunk}" if chunk is not None else ""))


def plain(text: str) -> list[str]:
    """The lines of what a stranger's code printed: escape sequences taken out, other control characters marked.

    Of a line that was written over with carriage returns, as progress bars are, the last writing is kept.
    """
    lines = _ESCAPES.sub("", text).replace("\r\n", "\n").rstrip("\n").split("\n")
    return [clean(line.rstrip("\r").rpartition("\r")[2]) for line in lines]


def _pages(client: ControlClient, job: str, chunk: int | None, after: int) -> Iterator[list[LogRow]]:
    while rows := client.logs(job, chunk, after):
        yield rows
        after = rows[-1].number


def _followed(client: ControlClient, job: str, chunk: int | None) -> Iterator[list[LogRow]]:
    after, version, ended = 0, 0, False
    while not ended:
        change = client.wait_change(job, version)
        # Asked after the state: what the last chunk printed is there once the job has ended.
        version, ended = change.version, change.view.state.is_final
        for rows in _pages(client, job, chunk, after):
            yield rows
            after = rows[-1].number


def _lines(row: LogRow) -> list[bytes]:
    head = f"chunk {row.chunk} on {short_peer(row.peer)} | "
    return [(head + line).encode(errors="replace") for line in plain(row.text)]
