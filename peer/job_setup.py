"""What a job needs before it starts: a request that can be carried out, the manifest, its books."""

from collections.abc import Callable
from dataclasses import dataclass

from peer.job_results import ResultSink
from peer.seam import Executor
from peer.trust_book import TrustBook
from peer.views import JobRequest
from protocol.blobs import blob_digest, parse_blob_id
from protocol.bodies import JobBlob, Manifest, Receipt
from protocol.comparators import Kind, parse_comparator
from protocol.errors import LocalError
from protocol.fraud_proof import FraudProof
from protocol.ids import JobId, PeerId
from protocol.job_events import Effect
from protocol.job_machine import JobRules
from protocol.limits import BLOBS_PER_JOB_MAX
from protocol.planner import Target
from protocol.verification import Audit, VerificationPolicy


@dataclass(frozen=True, slots=True)
class JobBooks:
    """Where what a job brings about is kept."""

    results: ResultSink
    add_log: Callable[[JobId, int, str, str], None]
    caught: Callable[[PeerId, str, FraudProof | None], str]
    """A peer gave a wrong result, and which; with the proof where there is one. Says what follows for the peer."""
    trust: TrustBook
    on_stranger: Callable[[PeerId], None]
    """A peer works for us that nothing is known of."""
    add_clean: Callable[[str, float, int], None]
    """A peer has earned so many clean results, so many of them confirmed by our own executions."""
    add_receipt: Callable[[Receipt], None]
    on_change: Callable[[], None]
    on_end: Callable[[], None]
    on_effect: Callable[[Effect], None]


def check_runnable(request: JobRequest, policy: VerificationPolicy, executor: Executor) -> bool:
    """Whether this machine can execute the job's chunks itself; raises `LocalError` when it must and cannot."""
    if any(offer.name == request.runtime for offer in executor.offers()):
        return True
    if parse_comparator(request.compare).kind is Kind.VERIFY:
        raise LocalError(
            f"--compare verify needs {request.runtime} in a sandbox on this machine: use another --compare"
        )
    if request.local:
        raise LocalError(f"this machine cannot run {request.runtime} itself: use --local off")
    if isinstance(policy, Audit):
        raise LocalError(f"audits need {request.runtime} in a sandbox on this machine: use --verify quorum:2")
    return False


def target_of(request: JobRequest) -> Target:
    """What the user asks of `adaptive`."""
    return Target(request.max_error, request.max_overhead, request.assume_liars, request.audit_share)


def rules_of(request: JobRequest, policy: VerificationPolicy, *, can_execute: bool) -> JobRules:
    """What the job's rules need of the request; `can_execute`: whether this machine runs its chunks."""
    return JobRules(
        policy,
        can_execute,
        target_of(request),
        own_slots=max(1, request.local),
        self_checking=parse_comparator(request.compare).kind is Kind.VERIFY,
        same_platform=request.same_platform,
        item_timeout_s=request.item_timeout_s,
        worker_wait_s=request.worker_wait_s,
    )


def manifest_of(job: JobId, request: JobRequest, coordinator: PeerId) -> Manifest:
    """What workers must know of the request; raises `LocalError` for blobs that cannot be."""
    if len(request.blobs) > BLOBS_PER_JOB_MAX:
        raise LocalError(f"{len(request.blobs)} blobs; a job reads at most {BLOBS_PER_JOB_MAX}")
    return Manifest(
        job=job,
        runtime=request.runtime,
        code=request.code.encode(),
        entry=request.entry,
        name=request.name,
        item_timeout_s=request.item_timeout_s,
        memory_bytes_max=request.memory_bytes_max,
        compare=request.compare,
        blobs=tuple(
            JobBlob(name=one.name, blob=blob_digest(parse_blob_id(one.id)), size_bytes=one.size_bytes)
            for one in request.blobs
        ),
        blob_holder=coordinator if request.blobs else PeerId(""),
    )
