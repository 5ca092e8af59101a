"""Dishonest and useless workers as plug-ins, by name.

An adversary differs from an honest worker only where a dishonest machine or owner would: in its executor, in what
its owner claims, in its identity. Everything else about it is the shipped code. Adversaries of one run that work
together share their `Gang`. Other packages add kinds through the entry points `parallel_peer.adversaries`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from random import Random

from peer.seam import Executor
from protocol.errors import LocalError
from protocol.ids import PeerId
from protocol.messages.job import INTRODUCTIONS_MAX
from protocol.signing import KEY_SEED_BYTES, Identity
from protocol.worker_memory import NO_MEMORY, WorkerMemory
from protocol.worker_policy import WorkerPolicy
from simulations.collusion import CanaryRing, agreed_lies
from simulations.lying import (
    AlteredExecutor,
    ChunkAlteration,
    deny,
    free_ride,
    guess,
    lie_after,
    lie_sometimes,
    overcharge,
)
from simulations.scenario import Adversary as Settings
from simulations.scenario_errors import near
from simulations.self_dealing import SelfDealt

ENTRY_POINTS = "parallel_peer.adversaries"
PADDING_FACTOR = 100.0
BOAST_FACTOR = 10.0


class Adversary:
    """One worker's way to differ from an honest one; this base does not differ at all."""

    renews_identity = False
    """Whether it comes back under a new identity as soon as a coordinator has banned it."""

    def executor(self, honest: Executor) -> Executor:
        """What runs its chunks, given what an honest worker would use."""
        return honest

    def policy(self, honest: WorkerPolicy) -> WorkerPolicy:
        """What its owner claims and asks, given what an honest one would."""
        return honest

    def memory(self, own: PeerId) -> WorkerMemory:
        """What it remembers of coordinators, or says that it does, under this identity."""
        return NO_MEMORY


class Altering(Adversary):
    """An adversary whose chunks are altered; each executor gets an alteration of its own."""

    def __init__(self, alteration: ChunkAlteration, *, renews_identity: bool = False) -> None:
        self._alteration = alteration
        self.renews_identity = renews_identity

    def executor(self, honest: Executor) -> Executor:
        """See `Adversary.executor`."""
        return AlteredExecutor(honest, self._alteration)


class SelfDealing(Altering):
    """A colluder that shows receipts by coordinators who do not exist."""

    def __init__(self, alteration: ChunkAlteration, issuers: Sequence[Identity]) -> None:
        super().__init__(alteration, renews_identity=True)
        self._issuers = issuers

    def memory(self, own: PeerId) -> WorkerMemory:
        """See `Adversary.memory`."""
        return SelfDealt(self._issuers, own)


class Claiming(Adversary):
    """An adversary that is honest but for what it bids."""

    def __init__(self, claim: Callable[[WorkerPolicy], WorkerPolicy]) -> None:
        self._claim = claim

    def policy(self, honest: WorkerPolicy) -> WorkerPolicy:
        """See `Adversary.policy`."""
        return self._claim(honest)


Member = Callable[[Random], Adversary]
"""Makes the next adversary of a gang; the random source is that adversary's own."""
Gang = Callable[[Settings, Random], Member]
"""Makes what the adversaries of one run share; the random source is the run's."""


def make_gang(settings: Settings, random: Random) -> Member:
    """The maker of adversaries that a scenario asks for; raises `LocalError` for a kind that there is not."""
    gang = ADVERSARIES.get(settings.kind) or _plug_in(settings.kind)
    if gang is None:
        raise LocalError(f"adversary.kind: no adversary {settings.kind!r}; {near(settings.kind, names())}")
    return gang(settings, random)


def names() -> list[str]:
    """Every kind, plug-ins included."""
    return sorted({*ADVERSARIES, *entry_points(group=ENTRY_POINTS).names})


def no_show(random: Random) -> Adversary:
    """For `workers.no_shows`: bids, wins and never answers."""
    return Altering(free_ride)


def _plug_in(kind: str) -> Gang | None:
    for found in entry_points(group=ENTRY_POINTS, name=kind):
        gang: Gang = found.load()
        return gang
    return None


def _constant(settings: Settings, random: Random) -> Member:
    return lambda own: Altering(lie_sometimes(1.0, own))


def _intermittent(settings: Settings, random: Random) -> Member:
    return lambda own: Altering(lie_sometimes(settings.rate, own))


def _sleeper(settings: Settings, random: Random) -> Member:
    return lambda own: Altering(lie_after(settings.sleep_chunks, settings.rate, own))


def _whitewasher(settings: Settings, random: Random) -> Member:
    return lambda own: Altering(lie_sometimes(settings.rate, own), renews_identity=True)


def _colluders(settings: Settings, random: Random) -> Member:
    lies = agreed_lies(settings.rate, random.randbytes(16))
    return lambda own: Altering(lies)


def _self_dealing(settings: Settings, random: Random) -> Member:
    lies = agreed_lies(settings.rate, random.randbytes(16))
    issuers = [Identity(random.randbytes(KEY_SEED_BYTES)) for _ in range(INTRODUCTIONS_MAX)]
    return lambda own: SelfDealing(lies, issuers)


def _canary(settings: Settings, random: Random) -> Member:
    ring = CanaryRing(random.randbytes(16))
    return lambda own: Altering(ring.joined())


def _lazy(settings: Settings, random: Random) -> Member:
    return lambda own: Altering(guess(settings.rate, own))


def _denier(settings: Settings, random: Random) -> Member:
    return lambda own: Altering(deny(settings.rate, own))


def _free_rider(settings: Settings, random: Random) -> Member:
    return no_show


def _none(settings: Settings, random: Random) -> Member:
    """The attack is made by peers of their own; see `simulations/attackers.py`."""
    return lambda own: Adversary()


def _padder(settings: Settings, random: Random) -> Member:
    return lambda own: Altering(overcharge(PADDING_FACTOR))


def _bid_shading(settings: Settings, random: Random) -> Member:
    return lambda own: Claiming(lambda policy: _shaded(policy, 1.0 + settings.rate))


def _boaster(settings: Settings, random: Random) -> Member:
    return lambda own: Claiming(lambda policy: replace(policy, speed=policy.speed * BOAST_FACTOR))


def _shaded(policy: WorkerPolicy, factor: float) -> WorkerPolicy:
    """Asks more than the work costs, but still takes what it costs: what a second price should make pointless."""
    return replace(policy, price=policy.price * factor, price_min=policy.lowest_price)


ADVERSARIES: Mapping[str, Gang] = {
    "bid_shading": _bid_shading,
    "boaster": _boaster,
    "canary": _canary,
    "colluders": _colluders,
    "constant": _constant,
    "denier": _denier,
    "free_rider": _free_rider,
    "intermittent": _intermittent,
    "lazy": _lazy,
    "padder": _padder,
    "record_flood": _none,
    "self_dealing": _self_dealing,
    "sleeper": _sleeper,
    "sybils": _none,
    "whitewasher": _whitewasher,
}
"""Every kind that comes with the simulator. `rate` is how often it lies, and for `bid_shading` what it adds."""
