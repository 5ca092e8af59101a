"""How fraud proofs look on a terminal, and as JSON."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import clean
from cli.text import count, short_peer, size
from peer.proof_replay import Judgement
from protocol import encoding
from protocol.arrays import array_hook
from protocol.errors import RemoteError
from protocol.fraud_proof import Claim, Verdict
from protocol.ids import digest
from protocol.outcomes import Outcome, decode_outcomes

ITEMS_SHOWN_MAX = 4
VALUE_CHARS_MAX = 100
_COLOURS = {Verdict.PROVEN: "red", Verdict.REFUTED: "green", Verdict.OPEN: "yellow"}


def proof_table(paths: Sequence[Path]) -> RenderableType:
    """The files, a line each."""
    if not paths:
        return Text("This peer has no proof against anybody.")
    table = Table("against", "file", box=None)
    for path in paths:
        table.add_row(path.name.partition("-")[0], str(path))
    return table


def claim_table(claim: Claim) -> RenderableType:
    """What the accused has signed."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("accused", claim.accused)
    table.add_row("job", f"{clean(claim.manifest.name)} ({claim.manifest.job}) of {claim.coordinator}")
    code = digest(claim.manifest.code).hex()[:16]
    table.add_row("code", f"{clean(claim.manifest.runtime)}, {size(len(claim.manifest.code))}, sha256 {code}…")
    table.add_row("input", _shortened(_items(claim.input), claim.items))
    table.add_row("signed", f"result {claim.result_digest.hex()[:16]}… in environment {claim.environment.hex()[:16]}…")
    if claim.result:
        table.add_row("", _results(claim.result, claim.items))
    table.add_row("signatures", "right: the accused gave this result of this code and input")
    return table


def verdict_text(claim: Claim, judgement: Judgement) -> RenderableType:
    """What executing it has shown."""
    lines: list[RenderableType] = []
    if judgement.replays:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        table.add_row("here", f"result {digest(judgement.replays[0]).hex()[:16]}…")
        table.add_row("", _results(judgement.replays[0], claim.items))
        lines.append(table)
    words = {
        Verdict.PROVEN: f"{short_peer(claim.accused)} gave a wrong result",
        Verdict.REFUTED: f"{short_peer(claim.accused)} was right: the accusation is false",
        Verdict.OPEN: "not decided",
    }
    lines.append(Text(f"{words[judgement.verdict]}: {clean(judgement.reason)}", _COLOURS[judgement.verdict]))
    return Group(*lines)


def claim_view(claim: Claim) -> dict[str, object]:
    """For programs."""
    return {
        "accused": claim.accused,
        "coordinator": claim.coordinator,
        "job": claim.manifest.job,
        "name": claim.manifest.name,
        "runtime": claim.manifest.runtime,
        "chunk": claim.chunk,
        "items": claim.items,
        "code_sha256": digest(claim.manifest.code).hex(),
        "result_sha256": claim.result_digest.hex(),
        "environment": claim.environment.hex(),
    }


def judgement_view(claim: Claim, judgement: Judgement) -> dict[str, object]:
    """For programs."""
    found = digest(judgement.replays[0]).hex() if judgement.replays else None
    return {
        **claim_view(claim),
        "verdict": judgement.verdict.value,
        "reason": judgement.reason,
        "result_here_sha256": found,
    }


def _items(payload: bytes) -> list[object]:
    value = encoding.decode(payload, array_hook)
    return value if isinstance(value, list) else [value]


def _results(data: bytes, items: int) -> str:
    try:
        return _shortened([_outcome(one) for one in decode_outcomes(data, items)], items)
    except RemoteError as error:
        return f"cannot be read: {clean(str(error))}"


def _outcome(one: Outcome) -> object:
    return one.value if one.ok else f"{one.error}: {one.message}"


def _shortened(values: Sequence[object], items: int) -> str:
    shown = ", ".join(clean(repr(value)[:VALUE_CHARS_MAX]) for value in values[:ITEMS_SHOWN_MAX])
    return f"{count(items, 'item')}: {shown}{', …' if items > ITEMS_SHOWN_MAX else ''}"
