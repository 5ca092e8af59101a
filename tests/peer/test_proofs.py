"""From a lie that is caught to a proof that holds elsewhere: made by jobs, kept as files, replayed."""

from itertools import count
from pathlib import Path

import msgspec
import pytest
import trio
from village import FunctionExecutor, request, village

from peer import proof_store as proof_store_module
from peer.proof_replay import replay
from peer.proof_store import ProofStore, read_proof
from peer.seam import ExecutionFailure
from protocol.bodies import Manifest
from protocol.errors import LocalError
from protocol.fraud_proof import Claim, FraudProof, Verdict, open_proof
from protocol.ids import JobId
from protocol.messages.job import FailureKind
from protocol.signing import Identity

SIGNED = Identity(bytes(32)).sign(Manifest(job=JobId("j"), runtime="python", code=b""))
EMPTY = FraudProof(manifest=SIGNED, commitment=SIGNED, index=0, path=(), input=b"", result_digest=bytes(32))


def square(item: object) -> object:
    assert isinstance(item, int)
    return item * item


def liar(item: object) -> object:
    assert isinstance(item, int)
    return item * item + (item % 3 == 0)


async def caught(executor: FunctionExecutor, folder: Path) -> tuple[FraudProof, str]:
    """The proof that a job leaves behind whose worker is this, and the worker."""
    async with village(folder) as v:
        await v.worker("a", FunctionExecutor(square))
        await v.worker("c", executor)
        coordinator = await v.coordinator(FunctionExecutor(square))
        await v.finish(coordinator, coordinator.submit(request(range(60), verify="quorum:2")))
        (path,) = ProofStore(folder / "proofs").paths()
        texts = [one.text for one in coordinator.trust.evidence(v.peer("c"))]
        assert any(str(path) in text for text in texts), texts
        return read_proof(path), v.peer("c")


@pytest.fixture
async def found(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> Claim:
    proof, accused = await caught(FunctionExecutor(liar), tmp_path)
    claim = open_proof(proof)
    assert claim.accused == accused
    return claim


async def test_a_lie_leaves_a_proof_that_holds(found: Claim) -> None:
    executor = FunctionExecutor(square)
    judgement = await replay(executor, found)
    assert judgement.verdict is Verdict.PROVEN and len(judgement.replays) == 2
    assert len(executor.runs) == 2 * found.items


async def test_a_replay_that_gives_the_same_clears_the_accused(found: Claim) -> None:
    assert (await replay(FunctionExecutor(liar), found)).verdict is Verdict.REFUTED


async def test_code_that_does_not_repeat_proves_nothing(found: Claim) -> None:
    numbers = count()
    judgement = await replay(FunctionExecutor(lambda _: next(numbers)), found)
    assert judgement.verdict is Verdict.OPEN and "each time" in judgement.reason


async def test_what_cannot_be_executed_or_does_not_end_proves_nothing(found: Claim) -> None:
    failing = {item: ExecutionFailure(FailureKind.CRASHED, 0, "broke") for item in range(60)}
    assert "broke" in (await replay(FunctionExecutor(square, failing=failing), found)).reason
    hanging = await replay(FunctionExecutor(square, hang=True), found, seconds_max=5.0)
    assert hanging.verdict is Verdict.OPEN and "did not end within 5 s" in hanging.reason


async def test_a_machine_without_the_runtime_says_so(found: Claim) -> None:
    class Elsewhere(FunctionExecutor):
        def offers(self) -> tuple[()]:
            return ()

    judgement = await replay(Elsewhere(square), found)
    assert judgement.verdict is Verdict.OPEN and "cannot run python" in judgement.reason


async def test_so_many_proofs_are_kept_and_no_more(tmp_path: Path, monkeypatch, found: Claim) -> None:
    monkeypatch.setattr(proof_store_module, "PROOFS_KEPT_MAX", 3)
    proof = read_proof(ProofStore(tmp_path / "proofs").paths()[0])
    for store in (ProofStore(tmp_path / "others"), ProofStore(None)):
        for index in range(5):
            store.add(msgspec.structs.replace(proof, index=index))
    assert len(ProofStore(tmp_path / "others").paths()) == 3


def test_files_that_are_no_proofs_are_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "cut").write_bytes(b"parallel-peer fraud proof 1\n\xa1")
    for name, story in (("text", "does not begin as one"), ("cut", "cut: "), ("none", "cannot read")):
        with pytest.raises(LocalError, match=story):
            read_proof(tmp_path / name)
    with pytest.raises(LocalError, match="lost"):
        ProofStore(tmp_path / "text").add(EMPTY)
