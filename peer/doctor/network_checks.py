"""The doctor asks the running peer about the network: clock, reachability, relay."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from peer.doctor.check import Check, ok, problem, unknown, warning
from peer.doctor.clock import clock_in_words
from peer.views import PeerView, StatusView

_START = "`peer start`, and ask again while it runs"
_WAIT = "ask again when it has started; if it has, its log may say why: {}"
_SET_CLOCK = "set the clock, best by itself: timedatectl set-ntp true"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the peer on this machine says."""

    status: StatusView | None = None
    """None where none answers."""
    peers: Sequence[PeerView] | None = None
    """None where it could not tell which others there are."""
    silent: str = ""
    """Of a peer that runs and does not answer, where it may say why."""

    def unknown(self, name: str) -> Check:
        """What cannot be told without a peer that answers."""
        if self.silent:
            return unknown(name, "not known: the peer that runs here does not answer", _WAIT.format(self.silent))
        return unknown(name, "not known: no peer runs here", _START)


def network_checks(asked: Asked) -> Iterator[Check]:
    """All of them."""
    if asked.status is None:
        yield from map(asked.unknown, ("clock", "network", "reachability"))
    else:
        yield clock_check(asked.peers)
        yield network_check(asked.peers)
        yield reachability_check(asked.status)
    yield relay_check()


def clock_check(peers: Sequence[PeerView] | None) -> Check:
    """Against the records of others: those of a peer whose clock is wrong are not believed."""
    if not peers:
        return unknown("clock", "not compared: no other peer is known", "join others with --bootstrap, and ask again")
    off = clock_in_words([one.expires_in_s for one in peers])
    if off is not None:
        return problem("clock", off, _SET_CLOCK)
    count = f"{len(peers)} peer{'' if len(peers) == 1 else 's'}"
    return ok("clock", f"goes with that of {count}, as far as the age of their records tells")


def network_check(peers: Sequence[PeerView] | None) -> Check:
    """Whether others can be reached from here."""
    if peers is None:
        return warning("network", "the directory does not answer in time", "look again in a minute; see the peer's log")
    answering = sum(one.reachable is True or one.connected for one in peers)
    if peers and not answering:
        return warning(
            "network", f"none of {len(peers)} known peers answers", "does this machine's network let TCP out?"
        )
    if not peers:
        return warning(
            "network", "no other peer is known: this one stands alone", "join others with --bootstrap ADDRESS"
        )
    return ok("network", f"{answering} of {len(peers)} known peers answer")


def reachability_check(status: StatusView) -> Check:
    """Whether others can reach this peer."""
    name = "reachability"
    if not status.addresses:
        return warning(name, "this peer listens nowhere", "leave --listen out, or give it an address of this machine")
    if all(_is_loopback(one) for one in status.addresses):
        return warning(name, "it listens for this machine alone", "leave --listen out, or give it an outside address")
    where = f"listens at {', '.join(status.addresses[:2])}" + (" and more" if len(status.addresses) > 2 else "")
    if status.callers:
        return ok(name, f"{where}; {status.callers} of {status.connected} connected peers have dialled it")
    if not status.connected:
        return unknown(name, f"{where}; nobody is connected", "join others with --bootstrap, and ask again")
    port = status.addresses[0].rpartition("/")[2]
    return warning(name, f"{where}; nobody has dialled it yet", f"let TCP port {port} through router and firewall")


def relay_check() -> Check:
    """There is none yet."""
    return ok("relay", "there is none yet: a peer that nobody can dial can submit, but not work for others")


def _is_loopback(address: str) -> bool:
    return address.startswith(("/ip4/127.", "/ip6/::1/"))
