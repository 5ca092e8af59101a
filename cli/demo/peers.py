"""The peers of the demonstrations: four processes of this machine, the last of which misbehaves."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cli.child import ChildPeer, peer_options
from cli.console import say
from cli.text import fault_mark, short_peer
from peer.data_folder import DataFolder
from peer.views import PeerView
from protocol.errors import LocalError

NAMES = ("alice", "bob", "carol", "mallory")
"""alice submits, mallory lies."""
LISTEN = "/ip4/127.0.0.1/tcp/0"
KNOWN_TIMEOUT_S = 30.0
KNOWN_POLL_S = 0.2


@contextmanager
def four_peers(folder: Path, fault: str) -> Iterator[list[ChildPeer]]:
    """Started, joined, and ended by their ids whatever happens; the last one with the fault."""
    say("Starting four peers on this machine, one of which lies:")
    with ExitStack() as stack:
        first = stack.enter_context(_peer(folder, NAMES[0]))
        line = first.wait_for("ready").bootstrap[0]
        others = [
            stack.enter_context(_peer(folder, name, line, fault if name == NAMES[-1] else "")) for name in NAMES[1:]
        ]
        peers = [first, *others]
        try:
            for name, peer in zip(NAMES, peers, strict=True):
                peer.wait_for("joined")
                mark = fault_mark(fault) if name == NAMES[-1] else ""
                say(f"  {name:8} {short_peer(peer.client.status().peer)}  process {peer.pid}  {mark}")
            yield peers
        finally:
            for peer in peers:
                peer.ask_to_end()


def _peer(folder: Path, name: str, bootstrap: str = "", fault: str = "") -> ChildPeer:
    options = peer_options(bootstrap=[bootstrap] if bootstrap else [], listen=[LISTEN])
    faulty = ["--fault", fault] if fault else []
    return ChildPeer(DataFolder(folder / name), "--cores", "1", "--on-battery", *options, *faulty)


def wait_until_known(peer: ChildPeer) -> list[PeerView]:
    """The others, once this one knows all of them; raises `LocalError` when it takes too long."""
    deadline = time.monotonic() + KNOWN_TIMEOUT_S
    while len(known := peer.client.peers()) < len(NAMES) - 1:
        if time.monotonic() > deadline:
            raise LocalError(
                f"only {len(known)} of {len(NAMES) - 1} peers found one another in {KNOWN_TIMEOUT_S:.0f} s"
            )
        time.sleep(KNOWN_POLL_S)
    return known


@contextmanager
def demo_folder(*, keep: bool) -> Iterator[Path]:
    """For their data; removed in the end unless it is to be kept."""
    if keep:
        folder = Path(tempfile.mkdtemp(prefix="peer-demo-"))
        try:
            yield folder
        finally:
            say(f"logs and results are in {folder}")
        return
    with tempfile.TemporaryDirectory(prefix="peer-demo-", ignore_cleanup_errors=True) as name:
        yield Path(name)
