"""Jobs of one coordinator, one after the other: what peers earn and their bans carry over, by the shipped rules."""

from collections.abc import Callable, Sequence
from itertools import count
from random import Random

from protocol.ids import PeerId
from protocol.trust import TrustRecord, after_clean, after_wrong
from protocol.verification import VerificationPolicy
from simulations.experiments.behaviours import Behaviour, Known
from simulations.experiments.one_job import JobTally, OneJob


class Series:
    """See the module. Jobs follow each other at once, so nothing that was earned fades."""

    def __init__(
        self,
        policy: VerificationPolicy,
        behaviours: Sequence[Behaviour],
        random: Random,
        *,
        whitewash: bool = False,
        job: Callable[..., OneJob] = OneJob,
    ) -> None:
        """`whitewash`: who is caught is there again at once under a new name, in the same job."""
        self._policy = policy
        self._random = random
        self._whitewash = whitewash
        self._job = job
        self._numbers = count(1)
        self._now_unix_s = 0.0
        self._trust: dict[PeerId, TrustRecord] = {}
        self.peers = [Known(PeerId(f"worker-{next(self._numbers)}"), one) for one in behaviours]
        """All that were ever met and are not banned, each under its present name."""
        self.caught: list[Known] = []
        self.last: OneJob | None = None
        """The last job."""

    def run(self, items: int) -> JobTally:
        """The next job. Raises `LocalError` as `OneJob.run` does."""
        job = self._job(self._policy, (), items, self._random, known=tuple(self.peers), numbers=self._numbers)
        tally = job.run(whitewash=self._whitewash)
        self.last = job
        self._now_unix_s += job.elapsed_s
        for peer in job.caught:
            self._trust[peer] = after_wrong(self._record(peer), "caught lying", self._now_unix_s)
            self.caught.append(job.members[peer])
        for peer in (one for one in job.members if one not in job.caught):
            self._trust[peer] = after_clean(self._record(peer), *job.earned(peer), self._now_unix_s)
        self.peers = [one for peer, one in job.members.items() if not self._record(peer).is_banned(self._now_unix_s)]
        for one in self.peers:
            one.clean = self._record(one.name).clean_at(self._now_unix_s)
        return tally

    def turned(self, behaviours: Sequence[Behaviour], random: Random, *, whitewash: bool) -> "Series":
        """A series of its own that begins where this one is, with its peers behaving like this from now on."""
        other = Series(self._policy, (), random, whitewash=whitewash, job=self._job)
        together = zip(self.peers, behaviours, strict=True)
        other.peers = [Known(one.name, behaviour, one.clean, one.done) for one, behaviour in together]
        other._trust = dict(self._trust)
        other._numbers = count(len(self._trust) + 1)
        other._now_unix_s = self._now_unix_s
        return other

    def _record(self, peer: PeerId) -> TrustRecord:
        return self._trust.get(peer) or TrustRecord(peer)
