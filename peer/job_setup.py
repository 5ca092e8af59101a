"""What a job needs before it starts: a request that can be carried out, the manifest, its books."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import msgspec

from peer.hand_outs import LeaseNotes
from peer.job_results import ResultSink
from peer.own_machine import own_machine
from peer.result_files import Shelf
from peer.seam import Seam
from peer.trust_book import TrustBook
from peer.views import JobRequest, JobView
from protocol.blobs import blob_digest, parse_blob_id
from protocol.bodies import JobBlob, Manifest, Receipt
from protocol.comparators import Kind, parse_comparator
from protocol.errors import LocalError
from protocol.fraud_proof import FraudProof
from protocol.ids import JobId, PeerId
from protocol.job_events import Effect
from protocol.job_limits import JobLimits
from protocol.job_machine import JobRules
from protocol.limits import BLOBS_PER_JOB_MAX, SHORT_TEXT_LENGTH_MAX
from protocol.pinned import check_pinned
from protocol.planner import Target
from protocol.requirements import Requirements, lacks
from protocol.verification import Audit, VerificationPolicy

LEFT_MIN = 1e-6
"""Credits or seconds of a job whose limit was passed while it did not run: it ends at once."""


@dataclass(frozen=True, slots=True)
class JobBooks:
    """Where what a job brings about is kept."""

    results: ResultSink
    add_log: Callable[[JobId, int, str, str], None]
    caught: Callable[[PeerId, str, FraudProof | None], str]
    """A peer gave a wrong result, and which; with the proof where there is one. Says what follows for the peer."""
    outvoted: Callable[[PeerId, str], str]
    """Other peers say that a peer gave a wrong result, and which. Says what follows for the peer."""
    trust: TrustBook
    on_stranger: Callable[[PeerId], None]
    """A peer works for us that nothing is known of."""
    add_clean: Callable[[str, float, int], None]
    """A peer has earned so many clean results, so many of them confirmed by our own executions."""
    add_receipt: Callable[[Receipt], None]
    files: Shelf | None
    """Where files of results are kept; None: nowhere."""
    leases: LeaseNotes | None
    """None for a job that cannot go on after a restart."""
    on_change: Callable[[], None]
    on_end: Callable[[], None]
    on_effect: Callable[[Effect], None]


def check_runnable(request: JobRequest, policy: VerificationPolicy, seam: Seam) -> bool:
    """Whether this machine can execute the job's chunks itself; raises `LocalError` when it must and cannot."""
    missing = missing_here(request, seam)
    if missing and request.local:
        raise LocalError(f"this machine lacks {' and '.join(missing)} itself: use --local off")
    if not missing and any(offer.name == request.runtime for offer in seam.executor.offers()):
        return True
    if parse_comparator(request.compare).kind is Kind.VERIFY:
        raise LocalError(
            f"--compare verify needs {request.runtime} in a sandbox on this machine: use another --compare"
        )
    if request.local:
        raise LocalError(
            f"this machine cannot run {request.runtime} itself ({_why_not(request, seam)}): use --local off"
        )
    if isinstance(policy, Audit):
        raise LocalError(f"audits need {request.runtime} in a sandbox on this machine: use --verify quorum:2")
    return False


def _why_not(request: JobRequest, seam: Seam) -> str:
    try:
        seam.executor.environment(request.runtime)
    except LocalError as error:
        return str(error)
    return "no sandbox works"


def needs_of(request: JobRequest) -> Requirements:
    """What each slot needs besides memory; raises `LocalError` that names what is wrong."""
    needs = Requirements(
        cores=request.cores,
        gpu=request.gpu[:SHORT_TEXT_LENGTH_MAX],
        runtime_version=request.runtime_version[:SHORT_TEXT_LENGTH_MAX],
        disk_bytes=request.disk_bytes,
        sandbox=request.sandbox[:SHORT_TEXT_LENGTH_MAX],
    )
    if problem := needs.problem():
        raise LocalError(f"--{problem}")
    return needs


def missing_here(request: JobRequest, seam: Seam) -> list[str]:
    """What this machine itself lacks for the job. Looked for only where the job requires something unusual."""
    needs = needs_of(request)
    if needs == Requirements():
        return []
    return list(lacks(needs, request.memory_bytes_max, request.runtime, own_machine(seam.executor, seam.data_folder)))


def limits_of(request: JobRequest) -> JobLimits:
    """At which cost or time it ends with what it has."""
    return JobLimits(
        inf if request.budget is None else request.budget, inf if request.deadline_s is None else request.deadline_s
    )


def what_is_left(request: JobRequest, before: JobView, now_unix_s: float) -> JobRequest:
    """The request of a job that goes on: less what it has paid, and less the time since it was submitted."""
    budget, deadline_s = request.budget, request.deadline_s
    if budget is not None:
        budget = max(budget - before.price, LEFT_MIN)
    if deadline_s is not None:
        deadline_s = max(deadline_s - (now_unix_s - before.submitted_at_unix_s), LEFT_MIN)
    return msgspec.structs.replace(request, budget=budget, deadline_s=deadline_s)


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
        limits=limits_of(request),
    )


def _checked(requirements: str) -> str:
    check_pinned(requirements)
    return requirements


def manifest_of(job: JobId, request: JobRequest, coordinator: PeerId) -> Manifest:
    """What workers must know of the request; raises `LocalError` for blobs or packages that cannot be."""
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
        cores=request.cores,
        requirements=_checked(request.requirements),
        blobs=tuple(
            JobBlob(name=one.name, blob=blob_digest(parse_blob_id(one.id)), size_bytes=one.size_bytes)
            for one in request.blobs
        ),
        blob_holder=coordinator,
    )
