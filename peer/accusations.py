"""Fraud proofs among peers: ours are announced in the DHT and handed out, those of others replayed and then believed.

Each step is bounded: few issuers per accused peer, small proofs, one replay at a time within a share of this machine.
A proof that holds lets the accused rest for a day, one that is refuted its issuer; a forged one counts as a lie.
"""

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

import trio

from dht.keys import accusation_key
from dht.sequence_numbers import SequenceNumbers
from dht.service import DhtService
from peer.proof_replay import Judgement, replay
from peer.proof_store import ProofStore
from peer.seam import Seam
from peer.trust_book import TrustBook
from protocol.accusation import SHARED_PROOF_BYTES_MAX, Accusation, verified_accusation
from protocol.errors import BadFrame, LocalError, RemoteError, Unavailable
from protocol.fraud_proof import Claim, FraudProof, Verdict, decode_proof, open_proof
from protocol.ids import DIGEST_BYTES, PeerId, digest, short
from protocol.limits import RECORD_LIFETIME_S
from protocol.network import PROOF_PROTOCOL, Caller

if TYPE_CHECKING:
    from trio_typing import TaskStatus

log = logging.getLogger(__name__)

SHARED_MAX = 64
"""Proofs announced and handed out, the newest: 32 MiB at most."""
PUBLISH_INTERVAL_S = RECORD_LIFETIME_S / 2
PEERS_WAITING_MAX = 256
LOOK_AGAIN_S = 600.0
LOOKED_INTO_MAX = 4096
ISSUERS_MAX = 3
"""Whose proofs against one peer are looked at; those known best first."""
JUDGED_MAX = 4096
REPLAY_S_MAX = 60.0
"""For one of the two executions of a stranger's proof."""
REPLAY_SHARE = 0.05
"""How much of the time proofs of others may be executed here."""


class Judge(Protocol):
    """Whom verdicts concern: the coordinator."""

    trust: TrustBook
    proofs: ProofStore

    def condemn(self, peer: PeerId, reason: str) -> None:
        """Believe a peer no more: it has lied about a result, or forged a proof."""

    def shut_out(self, peer: PeerId, reason: str) -> None:
        """Go on without a peer in the jobs that run; what it gave before is not called a lie by that."""


class Accusations:
    """One per peer, a `Witness` of its coordinator and an `Answerer` of its host. `run` owns the tasks.

    `replays`: whether the owner lets strangers' code run on this machine; if not, what others say is not looked into.
    """

    def __init__(self, seam: Seam, dht: DhtService, *, replays: bool) -> None:
        self._seam = seam
        self._dht = dht
        self._replays = replays
        self._shared: OrderedDict[PeerId, tuple[bytes, bytes]] = OrderedDict()
        """By accused peer: the proof and its digest."""
        self._news = trio.Event()
        self._sequence = SequenceNumbers(seam.wall_clock)
        self._waiting_send, self._waiting = trio.open_memory_channel[PeerId](PEERS_WAITING_MAX)
        self._looked_into: OrderedDict[PeerId, float] = OrderedDict()
        self._judged: OrderedDict[bytes, None] = OrderedDict()

    async def run(self, judge: Judge, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Announce, hand out, look into, until cancelled."""
        for data in reversed(judge.proofs.recent(SHARED_MAX)):
            self._share(data)
        self._seam.host.answer(PROOF_PROTOCOL, self)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._announce)
            task_status.started()
            async for peer in self._waiting:
                await self._look_into(peer, judge)

    # What the coordinator tells (Witness).

    def accuse(self, proof: FraudProof) -> None:
        """Announce it, if it is small enough to be handed out."""
        self._share(proof.encode())
        self._news.set()

    def look_into(self, peer: PeerId) -> None:
        """Soon, unless that was done lately or too many wait."""
        now = trio.current_time()
        if not self._replays or now < self._looked_into.get(peer, -LOOK_AGAIN_S) + LOOK_AGAIN_S:
            return
        try:
            self._waiting_send.send_nowait(peer)
        except trio.WouldBlock:
            return
        self._looked_into[peer] = now
        if len(self._looked_into) > LOOKED_INTO_MAX:
            self._looked_into.popitem(last=False)

    # What others ask (Answerer).

    def answer(self, caller: Caller, request: bytes) -> bytes:
        """The proof with this digest, or nothing."""
        if len(request) != DIGEST_BYTES:
            raise BadFrame(f"{caller.peer} asks for a proof with {len(request)} bytes instead of a digest")
        return next((data for data, name in self._shared.values() if name == request), b"")

    def on_breach(self, peer: PeerId, error: RemoteError) -> None:
        """It has been cut off."""
        log.info("%s", error)

    # Announcing.

    def _share(self, data: bytes) -> None:
        if len(data) > SHARED_PROOF_BYTES_MAX:
            return
        accused = decode_proof(data).commitment.signer
        self._shared[accused] = data, digest(data)
        self._shared.move_to_end(accused)
        if len(self._shared) > SHARED_MAX:
            self._shared.popitem(last=False)

    async def _announce(self) -> None:
        while True:
            self._news = trio.Event()
            for accused, (_, name) in list(self._shared.items()):
                try:
                    envelope = self._seam.identity.sign(self._record(accused, name))
                    await self._dht.store(accusation_key(accused), envelope)
                except Unavailable as error:
                    log.info("%s could not be accused: %s", accused, error)
            with trio.move_on_after(PUBLISH_INTERVAL_S):
                await self._news.wait()

    def _record(self, accused: PeerId, name: bytes) -> Accusation:
        now = self._seam.wall_clock()
        return Accusation(
            accused=accused,
            proof=name,
            sequence=self._sequence.next(),
            expires_at_unix_s=now + RECORD_LIFETIME_S,
            addresses=tuple(self._seam.host.addresses()),
        )

    # Looking into what others say.

    async def _look_into(self, peer: PeerId, judge: Judge) -> None:
        try:
            envelopes, _ = await self._dht.find_records(accusation_key(peer), ISSUERS_MAX)
        except Unavailable as error:
            log.info("what is said about %s is not known: %s", peer, error)
            return
        banned = judge.trust.banned()
        issuers = {one.signer: verified_accusation(one) for one in envelopes if one.signer not in banned}
        issuers.pop(self._seam.host.peer_id, None)
        for issuer in sorted(issuers, key=lambda one: (-judge.trust.clean_of(one), one))[:ISSUERS_MAX]:
            if issuers[issuer].proof not in self._judged:
                await self._try(peer, issuer, issuers[issuer], judge)

    async def _try(self, peer: PeerId, issuer: PeerId, accusation: Accusation, judge: Judge) -> None:
        """Get one proof, replay it, draw the consequences; then rest, so that strangers cannot keep us busy."""
        data = await self._fetch(issuer, accusation)
        if data is None:
            return
        self._judged[accusation.proof] = None
        if len(self._judged) > JUDGED_MAX:
            self._judged.popitem(last=False)
        began = trio.current_time()
        judgement = await self._judge(peer, data)
        try:
            self._conclude(peer, issuer, judgement, judge)
        except LocalError as error:
            log.warning("what came of the proof against %s is not remembered: %s", peer, error)
        await trio.sleep((trio.current_time() - began) * (1 / REPLAY_SHARE - 1))

    async def _fetch(self, issuer: PeerId, accusation: Accusation) -> bytes | None:
        def read(reply: bytes) -> bytes:
            if digest(reply) != accusation.proof:
                raise BadFrame(f"{issuer} does not give the proof that it announced")
            return reply

        try:
            return await self._seam.host.request(
                issuer, PROOF_PROTOCOL, accusation.proof, read, addresses=accusation.addresses
            )
        except (Unavailable, RemoteError) as error:
            log.info("no proof against %s: %s", accusation.accused, error)
            return None

    async def _judge(self, peer: PeerId, data: bytes) -> Judgement | str:
        """What executing it shows, or why it is no proof at all."""
        claim = _claim_against(peer, data)
        return claim if isinstance(claim, str) else await replay(self._seam.executor, claim, REPLAY_S_MAX)

    def _conclude(self, peer: PeerId, issuer: PeerId, judgement: Judgement | str, judge: Judge) -> None:
        """Only a forgery is a lie beyond doubt: honest machines may differ in their environment, or err."""
        if isinstance(judgement, str):
            judge.trust.caught(issuer, "", f"forged a proof against {short(peer)}: {judgement}")
            judge.condemn(issuer, f"forged a proof against {short(peer)}")
        elif judgement.verdict is Verdict.PROVEN:
            judge.trust.rest(peer, "proof", f"proven by {issuer} to have lied", doubted=True)
            judge.condemn(peer, f"proven by {short(issuer)} to have lied")
        elif judgement.verdict is Verdict.REFUTED:
            judge.trust.rest(issuer, "false proof", f"accused {peer}, whose result is right here")
            judge.shut_out(issuer, f"accused {short(peer)} falsely")


def _claim_against(peer: PeerId, data: bytes) -> Claim | str:
    """What the accused has signed, or why the proof is none."""
    try:
        claim = open_proof(decode_proof(data))
    except RemoteError as error:
        return str(error)
    return claim if claim.accused == peer else f"the proof is about {claim.accused}"
