"""Fraud proofs among peers, in virtual time over the memory network: what is believed, and what it costs."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import pytest
import trio
from village import FunctionExecutor, Village, request, village

from dht.keys import accusation_key
from peer import accusations as accusations_module
from peer.accusations import LOOK_AGAIN_S, PUBLISH_INTERVAL_S, Accusations
from peer.coordinator import Coordinator
from peer.journal import Journal
from peer.seam import Seam
from protocol.accusation import SHARED_PROOF_BYTES_MAX
from protocol.errors import Unavailable
from protocol.fraud_proof import FraudProof, decode_proof
from protocol.ids import PeerId, digest
from protocol.network import PROOF_PROTOCOL
from protocol.signing import Envelope
from protocol.trust import COOL_DOWN_S


def square(item: object) -> object:
    assert isinstance(item, int)
    return item * item


def liar(item: object) -> object:
    assert isinstance(item, int)
    return item * item + (item % 3 == 0)


@dataclass
class FakeDht:
    """Keeps the newest record of each signer; the real one is tested in tests/dht and in simulations."""

    records: dict[bytes, dict[PeerId, Envelope]] = field(default_factory=dict)
    asked: list[bytes] = field(default_factory=list)

    async def store(self, key: bytes, envelope: Envelope) -> int:
        self.records.setdefault(key, {})[envelope.signer] = envelope
        return 1

    async def find_records(self, key: bytes, wanted: int) -> tuple[list[Envelope], int]:
        self.asked.append(key)
        found = list(self.records.get(key, {}).values())
        return found, len(found)


@dataclass
class Party:
    """One submitter: its coordinator, its part in the talk about liars, the seam of both."""

    seam: Seam
    coordinator: Coordinator
    accusations: Accusations

    def bans(self) -> list[str]:
        return sorted(self.coordinator.trust.banned())

    def kinds(self, peer: str) -> list[str]:
        return [one.kind for one in self.coordinator.trust.evidence(peer)]


class Town:
    """A village with several submitters who share a DHT."""

    def __init__(self, v: Village, nursery: trio.Nursery) -> None:
        self.v = v
        self.dht = FakeDht()
        self._nursery = nursery

    async def submitter(self, name: str, executor: FunctionExecutor, *, replays: bool = True) -> Party:
        seam = self.v.seam(name, executor)
        accusations = Accusations(seam, self.dht, replays=replays)  # type: ignore[arg-type]
        coordinator = Coordinator(seam, self.v.directory(name), Journal.open(None), accusations)  # type: ignore[arg-type]
        await self._nursery.start(coordinator.run)
        await self._nursery.start(accusations.run, coordinator)
        return Party(seam, coordinator, accusations)

    async def run_job(self, party: Party, items: int = 60, verify: str = "audit:1") -> None:
        await self.v.finish(party.coordinator, party.coordinator.submit(request(range(items), verify=verify, local=0)))

    async def accused_by(self, name: str, function: Callable[[object], object] = liar) -> Party:
        """A submitter who has caught worker `c` lying and said so."""
        await self.v.worker("a", FunctionExecutor(square))
        await self.v.worker("c", FunctionExecutor(function))
        party = await self.submitter(name, FunctionExecutor(square))
        await self.run_job(party)
        await trio.testing.wait_all_tasks_blocked()
        assert party.bans() == [self.v.peer("c")]
        return party


@asynccontextmanager
async def town() -> AsyncIterator[Town]:
    async with village() as v, trio.open_nursery() as nursery:
        yield Town(v, nursery)
        nursery.cancel_scope.cancel()


async def until(true: Callable[[], bool]) -> None:
    """Within an hour of virtual time."""
    with trio.fail_after(3600):
        while not true():  # noqa: ASYNC110 - virtual time, and nobody to be told by
            await trio.sleep(1.0)


async def test_a_proven_liar_rests_at_others_too_and_gives_back_what_it_gave(autojump_clock) -> None:
    async with town() as t:
        await t.accused_by("first")
        second = await t.submitter("second", FunctionExecutor(square))
        await t.run_job(second, items=3000, verify="none")
        await until(lambda: t.v.peer("c") in second.bans())
        trust = next(one for one in second.coordinator.trust.trust() if one.peer == t.v.peer("c"))
        assert 0 < trust.banned_for_s <= COOL_DOWN_S and trust.offences == 0
        assert second.kinds(t.v.peer("c"))[0] == "proof"


async def test_a_refuted_proof_lets_its_issuer_rest_and_the_accused_work(autojump_clock) -> None:
    async with town() as t:
        first = await t.accused_by("first")
        second = await t.submitter("second", FunctionExecutor(liar))  # On this machine the "lie" is what is right.
        second.accusations.look_into(t.v.peer("c"))
        await until(lambda: bool(second.bans()))
        assert second.bans() == [first.seam.identity.peer_id]
        assert second.kinds(first.seam.identity.peer_id) == ["false proof"]


@pytest.mark.parametrize("how", ["another accused", "changed", "garbage"])
async def test_a_forged_proof_counts_as_a_lie_of_its_issuer(how: str, autojump_clock) -> None:
    async with town() as t:
        first = await t.accused_by("first")
        honest, culprit = t.v.peer("a"), t.v.peer("c")
        data = first.accusations._shared[culprit][0]
        proof = decode_proof(data)
        forged = {
            "another accused": data,
            "changed": msgspec.structs.replace(proof, result_digest=digest(b"?")).encode(),
            "garbage": b"garbage",
        }[how]
        first.accusations._shared[honest] = forged, digest(forged)
        first.accusations._news.set()
        await until(lambda: accusation_key(honest) in t.dht.records)
        second = await t.submitter("second", FunctionExecutor(square))
        second.accusations.look_into(honest)
        await until(lambda: bool(second.bans()))
        assert second.bans() == [first.seam.identity.peer_id]
        trust = second.coordinator.trust.trust()[0]
        assert trust.offences == 1 and second.kinds(trust.peer) == ["lie"]


async def test_what_cannot_be_had_or_told_costs_nobody_anything(autojump_clock) -> None:
    async with town() as t:
        first = await t.accused_by("first")
        first.accusations._shared.clear()
        second = await t.submitter("second", FunctionExecutor(square))
        second.accusations.look_into(t.v.peer("c"))
        third = await t.submitter("third", FunctionExecutor(square, hang=True))
        third.accusations.look_into(t.v.peer("c"))
        await trio.sleep(3000)
        assert len(t.dht.asked) >= 2 and not second.bans() and not third.bans()


async def test_only_strangers_are_looked_into_and_only_now_and_then(autojump_clock) -> None:
    async with town() as t:
        await t.v.worker("a", FunctionExecutor(square))
        party = await t.submitter("first", FunctionExecutor(square))
        for _ in range(3):
            await t.run_job(party)
        await trio.sleep(1)
        assert t.dht.asked == [accusation_key(t.v.peer("a"))]
        party.accusations.look_into(t.v.peer("a"))
        await trio.sleep(LOOK_AGAIN_S)
        assert len(t.dht.asked) == 1
        party.accusations.look_into(t.v.peer("a"))
        await trio.sleep(1)
        assert len(t.dht.asked) == 2


async def test_who_runs_no_code_of_strangers_replays_none(autojump_clock) -> None:
    async with town() as t:
        await t.accused_by("first")
        careful = await t.submitter("careful", FunctionExecutor(square), replays=False)
        t.dht.asked.clear()
        careful.accusations.look_into(t.v.peer("c"))
        await trio.sleep(600)
        assert not t.dht.asked and not careful.bans()


async def test_a_flood_of_accusers_costs_a_bounded_number_of_replays(autojump_clock) -> None:
    async with town() as t:
        first = await t.accused_by("first")
        ((culprit, (data, _)),) = first.accusations._shared.items()
        for number in range(20):
            crier = await t.submitter(f"crier{number}", FunctionExecutor(square))
            different = msgspec.structs.replace(decode_proof(data), path=()).encode() + bytes(number)
            crier.accusations._shared[culprit] = different, digest(different)
            crier.accusations._news.set()
        await trio.sleep(10)
        second = await t.submitter("second", FunctionExecutor(square))
        second.accusations.look_into(culprit)
        await trio.sleep(3000)
        assert len(second.bans()) == accusations_module.ISSUERS_MAX


async def test_accusations_are_renewed_and_large_proofs_are_not_announced(monkeypatch, autojump_clock) -> None:
    async with town() as t:
        first = await t.accused_by("first")
        key = accusation_key(t.v.peer("c"))
        (old,) = t.dht.records[key].values()
        await trio.sleep(PUBLISH_INTERVAL_S + 1)
        (new,) = t.dht.records[key].values()
        assert new != old
        proof = decode_proof(first.accusations._shared[t.v.peer("c")][0])
        monkeypatch.setattr(accusations_module, "SHARED_PROOF_BYTES_MAX", len(proof.encode()) - 1)
        first.accusations._shared.clear()
        first.accusations.accuse(proof)
        assert not first.accusations._shared and len(proof.encode()) < SHARED_PROOF_BYTES_MAX


async def test_others_are_given_what_they_name_and_breaches_are_refused(autojump_clock) -> None:
    async with town() as t:
        first = await t.accused_by("first")
        ((data, name),) = first.accusations._shared.values()
        host = t.v.seam("asker", FunctionExecutor(square)).host

        async def ask(payload: bytes) -> bytes:
            return await host.request(
                first.seam.identity.peer_id, PROOF_PROTOCOL, payload, bytes, first.seam.host.addresses()
            )

        assert await ask(name) == data and isinstance(decode_proof(data), FraudProof)
        assert await ask(bytes(32)) == b""
        with pytest.raises(Unavailable):
            await ask(b"short")


async def test_a_restart_goes_on_accusing(tmp_path, autojump_clock) -> None:
    async with village(tmp_path) as v, trio.open_nursery() as nursery:
        t = Town(v, nursery)
        await t.accused_by("first")
        t.dht.records.clear()
        again = await t.submitter("again", FunctionExecutor(square))
        await until(lambda: bool(t.dht.records))
        assert again.seam.identity.peer_id in t.dht.records[accusation_key(v.peer("c"))]
        nursery.cancel_scope.cancel()
