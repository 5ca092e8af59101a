"""Whom the worker works for: anyone, paired peers alone, or those whom its owner has let in when asked.

Paired peers are always let in. Who asks is kept in a bounded list, in memory; who was let in, in a file.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from peer.accept import Accept
from peer.trust_book import looks_whole
from peer.views import AskedView
from protocol.errors import LocalError
from protocol.ids import PeerId
from protocol.messages.job import RefusalReason
from protocol.worker_policy import Problem

ASKED_PEERS_MAX = 64
"""Who asked last stays; whoever asked longest ago is forgotten first."""
ACCEPTED_PEERS_MAX = 1024
ACCEPTED_NAME = "accepted.json"


class Door:
    """Asked for each call. `is_paired` may raise `LocalError`, which is passed on."""

    def __init__(
        self, accept: Accept, is_paired: Callable[[str], bool], wall_clock: Callable[[], float], folder: Path | None
    ) -> None:
        self._accept = accept
        self._is_paired = is_paired
        self._now = wall_clock
        self._path = folder / ACCEPTED_NAME if folder is not None else None
        self._accepted: list[str] = _read(self._path)
        self._asked: dict[str, AskedView] = {}

    def leave(self, peer: PeerId) -> Problem | None:
        """Why this coordinator is not let in; None: it is. With `ask` it is put on the list."""
        if self._accept is Accept.ANYONE or self._is_paired(peer):
            return None
        if self._accept is Accept.PAIRED:
            return RefusalReason.NOT_ACCEPTED, "this worker works for paired peers only"
        if peer in self._accepted:
            return None
        self._note(peer)
        return RefusalReason.ASKED, f"its owner is asked to let {peer[-8:]} in"

    def asked(self) -> list[AskedView]:
        """Who waits for the owner's leave, who asked last first."""
        return list(reversed(self._asked.values()))

    def accept(self, wanted: str) -> str:
        """Let a peer in from now on, by its id or the beginning or end of one that asked; the whole id.

        Raises `LocalError` when nobody or more than one is meant, or the file cannot be written.
        """
        if self._accept is not Accept.ASK:
            raise LocalError(f"this peer does not ask whom to let in: it was started with --accept {self._accept}")
        peer = wanted if looks_whole(wanted) else self._find(wanted)
        if peer not in self._accepted:
            self._accepted = [*self._accepted, peer][-ACCEPTED_PEERS_MAX:]
            self._write()
        self._asked.pop(peer, None)
        return peer

    def _find(self, wanted: str) -> str:
        found = [peer for peer in self._asked if peer.startswith(wanted) or peer.endswith(wanted)]
        if not found:
            raise LocalError(f"no peer {wanted!r} has asked: `peer requests` shows those that have")
        if len(found) > 1:
            raise LocalError(f"{len(found)} of those who asked begin or end with {wanted!r}; give more of the id")
        return found[0]

    def _note(self, peer: str) -> None:
        now = self._now()
        known = self._asked.pop(peer, AskedView(peer=peer, first_unix_s=now, last_unix_s=now))
        self._asked[peer] = msgspec.structs.replace(known, calls=known.calls + 1, last_unix_s=now)
        if len(self._asked) > ASKED_PEERS_MAX:
            del self._asked[next(iter(self._asked))]

    def _write(self) -> None:
        if self._path is None:
            return
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_bytes(msgspec.json.encode(self._accepted))
            fresh.replace(self._path)
        except OSError as error:
            raise LocalError(f"cannot write {self._path}: {error.strerror}") from error


def _read(path: Path | None) -> list[str]:
    """Raises `LocalError` for a file that is no such list: to guess would let strangers in, or shut out friends."""
    if path is None or not path.exists():
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[str])[-ACCEPTED_PEERS_MAX:]
    except (OSError, msgspec.DecodeError) as error:
        raise LocalError(f"cannot read {path} ({error}): mend it, or remove it to let nobody in") from error
