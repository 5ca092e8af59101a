"""What a peer shows of itself and its jobs: the data of the control API, the CLI and the dashboard.

Plain frozen data without behaviour; times in seconds, prices in credits. Imports nothing heavy.
"""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from peer.kept_view import KeptView
from protocol.limits import BLOB_NAME_PATTERN
from protocol.planner import ASSUME_LIARS, AUDIT_SHARE, MAX_ERROR, MAX_OVERHEAD
from protocol.requirements import CORES_MAX


class JobState(StrEnum):
    """Where a job stands. All but the first two are final: nothing more happens to the job by itself."""

    CALLING = "calling"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STOPPED = "stopped"
    """At its budget or deadline, with what it had."""
    INTERRUPTED = "interrupted"
    """This peer was stopped while the job ran, and could not go on with it when it was started again."""
    PAUSED = "paused"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to the job by itself."""
        return self not in (JobState.CALLING, JobState.RUNNING)

    @property
    def can_go_on(self) -> bool:
        """Whether the job has not come to an end of its own: `peer job resume` does the rest."""
        return self not in (JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.STOPPED)


class BlobUse(msgspec.Struct, frozen=True, kw_only=True):
    """A blob that a job's code reads, under a name."""

    name: Annotated[str, Meta(pattern=BLOB_NAME_PATTERN)]
    id: str
    size_bytes: Annotated[int, Meta(ge=0)]


class JobRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asks for. `items` are the inputs, plain JSON data; limits in `protocol/limits.py`."""

    name: str
    code: str
    items: list[object]
    runtime: str = "python"
    entry: str = "run"
    verify: str = "adaptive"
    """`adaptive`, `none`, `quorum:N` or `audit:RATE`."""
    compare: str = "exact"
    """When results count as the same; see `protocol/comparators.py`."""
    same_platform: bool = False
    """Whether replicas of a chunk go to workers alone that announce the same environment."""
    max_error: float = MAX_ERROR
    """For `adaptive`; see `protocol/planner.py:Target` for this and the next three."""
    max_overhead: float = MAX_OVERHEAD
    assume_liars: float = ASSUME_LIARS
    audit_share: float = AUDIT_SHARE
    local: Annotated[int, Meta(ge=0, le=256)] = 1
    """Slots of the submitter's own machine; 0 turns it off."""
    price_max: Annotated[float, Meta(ge=0)] = 10.0
    item_timeout_s: Annotated[float, Meta(gt=0, le=86400)] = 600.0
    memory_bytes_max: Annotated[int, Meta(ge=64 * 1024**2)] = 2 * 1024**3
    cores: Annotated[int, Meta(ge=1, le=CORES_MAX)] = 1
    """For each slot."""
    gpu: str = ""
    """See `protocol/requirements.py` for this and the next two."""
    runtime_version: str = ""
    disk_bytes: Annotated[int, Meta(ge=0)] = 0
    sandbox: str = "any"
    """The least that a worker must run it in: `any` or `strong`."""
    paired_only: bool = False
    """Whether only peers that are paired here may work on it."""
    budget: Annotated[float, Meta(gt=0)] | None = None
    """Credits in all; once so many are owed, the job ends with what it has."""
    deadline_s: Annotated[float, Meta(gt=0)] | None = None
    """From its start; then the job ends with what it has."""
    workers_max: Annotated[int, Meta(ge=1, le=256)] = 64
    worker_wait_s: Annotated[float, Meta(ge=0)] = 20.0
    """How long to look for a first worker (with local off) before the job fails."""
    requirements: str = ""
    """Packages, as a complete list; see `protocol/pinned.py`."""
    blobs: list[BlobUse] = []
    """Files that the code finds at `/blobs/NAME`, wherever it runs."""


class Funnel(msgspec.Struct, frozen=True, kw_only=True):
    """How the auction narrowed down: why nothing runs, where nothing runs."""

    found: int = 0
    lacking: int = 0
    """Not called, since they lack something that the job requires."""
    reached: int = 0
    unreachable: int = 0
    refused: dict[str, int] = {}
    bid: int = 0
    outbid: int = 0
    awarded: int = 0


class WorkerView(msgspec.Struct, frozen=True, kw_only=True):
    """One worker in one job."""

    peer: str
    state: str
    """`working`, `left: <why>`, or `banned: <why>`."""
    slots: int = 0
    speed: float = 1.0
    price: float = 0.0
    chunks_done: int = 0
    items_done: int = 0
    compute_s: float = 0.0
    handed_over: int = 0
    """Of its chunks, those whose results it had kept from an earlier run of the job."""
    failures: int = 0
    audits: int = 0
    revoked: int = 0
    credits: float = 0.0
    pending: float = 0.0
    """Reference-seconds that it has worked and has no receipt for yet."""
    forfeited: float = 0.0
    """Credits that it has claimed and does not get, since it was found lying."""
    fault: str | None = None
    local: bool = False
    chunks_now: int = 0
    """Chunks that are with it at this moment."""
    oldest_s: float | None = None
    """How long it has had the oldest of them; None where it has none."""
    heard_s: float | None = None
    """Seconds since its last sign of life; None for this machine and for who no longer works."""


class CandidateView(msgspec.Struct, frozen=True, kw_only=True):
    """One peer in the auction of one job."""

    peer: str
    state: str
    """How far it has come: `found`, `called`, `bid`, `refused`, `unreachable`, `outbid`, `awarded` or `left`."""
    reason: str = ""
    """Why it came no further."""
    price: float = 0.0
    """Credits per reference-second: what it bids, or what its record says where there is no bid."""
    paid: float | None = None
    """What it is paid instead, by the second price; None for who never worked."""
    speed: float = 1.0
    slots: int = 0
    clean: float = 0.0
    """Results of it that stand, from this job and those before."""
    paired: bool = False
    again_s: float | None = None
    """In how many seconds it may be called again; None where it need not or will not be."""
    fault: str | None = None


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job at one moment; the last one is the report."""

    id: str
    name: str
    state: JobState
    runtime: str = "python"
    verify: str = ""
    compare: str = "exact"
    comparison: str = ""
    """How far results that were accepted as the same were apart; empty where there is nothing to say."""
    message: str = ""
    """In plain words: what it waits for, or why it ended."""
    submitted_at_unix_s: float = 0.0
    elapsed_s: float = 0.0
    items: int = 0
    items_done: int = 0
    items_failed: int = 0
    chunks: dict[str, int] = {}
    """Number of chunks in each state."""
    workers: list[WorkerView] = []
    funnel: Funnel = Funnel()
    candidates: list[CandidateView] = []
    """Who the auction knows, those that work first; left out of lists of jobs."""
    waits: list[str] = []
    """What the job waits for and why, one thing a line; empty once it has ended."""
    left_s: float | None = None
    """Seconds that the rest will take with the workers at hand; None while that cannot be told."""
    executions: int = 0
    """Items executed, all replicas, audits and repetitions counted."""
    compute_s: float = 0.0
    """Seconds of computing behind the accepted results, each counted once."""
    compute_total_s: float = 0.0
    """Seconds of computing in all, replicas and audits included."""
    speed_up: float = 0.0
    """`compute_s / elapsed_s`: against one machine that computes the items one after another."""
    overhead: float = 0.0
    """Executions per item."""
    plan: str = ""
    """How results are checked, at what cost and to what bound, with the peers at hand; for `adaptive`."""
    shortfall: str = ""
    """Why the target is not promised, and what would carry it; empty where it is."""
    max_error: float = MAX_ERROR
    assume_liars: float = ASSUME_LIARS
    error_bound: float | None = None
    """The share of wrong results is not expected to be above this; None while results may still be revoked."""
    audits: int = 0
    votes: int = 0
    mismatches: int = 0
    liars: list[str] = []
    revoked: int = 0
    """Chunks whose results were thrown away after their worker was caught."""
    doubtful: int = 0
    """Items whose results rest on the word alone of a peer that was found lying after the job had ended."""
    retries: int = 0
    """How often a part of the job was run again after its end; the figures are those of all runs together."""
    resumes: int = 0
    """How often the job went on after it had been paused or this peer had been stopped."""
    ended_at_unix_s: float = 0.0
    price: float = 0.0
    credits: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0
    events: list[str] = []
    """The last lines of the job's story, bounded."""


class Retried(msgspec.Struct, frozen=True):
    """What a retry began: the number of items that are done again, none where all results stand."""

    items: int
    job: JobView


class PeerView(msgspec.Struct, frozen=True, kw_only=True):
    """What the directory knows of a peer."""

    peer: str
    runtimes: list[str] = []
    sandbox: str = ""
    slots: int = 0
    price: float = 0.0
    speed: float = 1.0
    memory_bytes: int = 0
    gpus: list[str] = []
    addresses: list[str] = []
    reachable: bool | None = None
    """None when it was not tried."""
    connected: bool = False
    expires_in_s: float = 0.0
    banned: str | None = None
    fault: str | None = None


class ComplaintView(msgspec.Struct, frozen=True, kw_only=True):
    """What a coordinator said against this machine as a worker, in its own words; it may be false."""

    coordinator: str
    text: str
    at_unix_s: float


class AvailabilityView(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the worker may work for others at this moment."""

    why_not: str | None = None
    """In words; None: it may."""
    paused_for_s: float | None = None
    """How long the owner's pause still lasts; None without one, and for one that lasts until it is ended."""


class AskedView(msgspec.Struct, frozen=True, kw_only=True):
    """A coordinator that waits for the owner's leave."""

    peer: str
    calls: int = 0
    first_unix_s: float
    last_unix_s: float


class PauseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A pause of the worker."""

    seconds: Annotated[float, Meta(gt=0)] | None = None
    """None: until it is ended."""


class StatusView(msgspec.Struct, frozen=True, kw_only=True):
    """This peer."""

    peer: str
    version: str
    pid: int
    data_folder: str
    uptime_s: float
    addresses: list[str]
    bootstrap: list[str]
    """Whole multiaddrs, /p2p part included: what another machine gives to --bootstrap."""
    connected: int
    callers: int = 0
    """How many of them have dialled this peer: they can reach it."""
    dht_contacts: int
    records: int
    slots: int
    slots_busy: int
    jobs_running: int
    leases: int
    sandbox: str
    runtimes: list[str]
    price: float
    speed: float
    chunks_run: int
    credits_earned: float
    fault: str | None = None
    complaints: int = 0
    """How often, since this peer was started, a coordinator found a result of this machine wrong."""
    complaint: ComplaintView | None = None
    """The last of them."""
    availability: AvailabilityView = AvailabilityView()
    limits: str = ""
    """What else its owner has set, in words."""
    kept: list[KeptView] = []
    asked: int = 0
    """How many coordinators wait for the owner's leave."""


class ResultLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of results.jsonl, in input order."""

    item: int
    ok: bool
    result: object = None
    error: str | None = None
    traceback: str | None = None
    worker: str | None = None
    checked: bool = True
    """False: it counts on the word of its worker alone."""
