"""The options that all `peer submit` commands have: checking, workers, what a job requires, what it may cost.

`with_job_options` gives them to a command, so that each of them is written once.
"""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path

# Typer reads these annotations when the program runs, so `Optional` and not `| None`.
from typing import Annotated, Any, Optional, get_type_hints

import typer

from cli.needs import NeedsTyped
from protocol.planner import ASSUME_LIARS, AUDIT_SHARE, MAX_ERROR, MAX_OVERHEAD

Verify = Annotated[str, typer.Option(help="How results are checked: adaptive, none, quorum:N or audit:RATE.")]
MaxError = Annotated[float, typer.Option(metavar="SHARE", help="adaptive: most wrong results among those accepted.")]
MaxOverhead = Annotated[
    float, typer.Option(metavar="N", help="adaptive: most executions per chunk in an honest network.")
]
AssumeLiars = Annotated[
    float, typer.Option(metavar="SHARE", help="adaptive: the share of peers that may lie, all together.")
]
AuditShare = Annotated[
    str, typer.Option(metavar="SHARE", help="adaptive: how much of this machine's slots audits may use.")
]
Compare = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        metavar="HOW",
        help="When two results are the same: exact, canonical, tolerance:RTOL,ATOL, tolerance:auto, image:DB; "
        "verify: the job file's verify(item, result) checks each instead. (default: that of the runtime)",
    ),
]
SamePlatform = Annotated[
    bool, typer.Option("--same-platform", help="Compare results of a chunk among workers of one kind alone.")
]
Local = Annotated[str, typer.Option(metavar="N|off", help="Slots of this machine that work too.")]
Cores = Annotated[str, typer.Option(metavar="N", help="Cores that each slot needs.")]
Memory = Annotated[
    str, typer.Option(metavar="SIZE", help="Memory that each slot needs and may use, as in 4G; a number alone is MiB.")
]
Gpu = Annotated[str, typer.Option(metavar="GPU", help="A GPU is needed: any, nvidia, nvidia:16G or 16G.")]
RuntimeVersion = Annotated[str, typer.Option(metavar="VERSION", help="Of the runtime, as in '>=3.11,<3.13'.")]
Disk = Annotated[str, typer.Option(metavar="SIZE", help="Free disk that the peer must have, as in 10G.")]
Sandbox = Annotated[
    str, typer.Option(metavar="KIND", help="The least that workers must run it in: any, or strong (no Landlock).")
]
MaxPrice = Annotated[
    str, typer.Option("--max-price", "--price-max", metavar="P", help="Most credits per reference-second to pay.")
]
Budget = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="B", help="Credits in all: once so many are owed, end with what is done."),
]
Deadline = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="TIME", help="As in 30m or 2h: then end with what is done."),
]
PairedOnly = Annotated[
    bool, typer.Option("--paired-only", help="Only peers that you have paired (`peer trust pair`) may work on it.")
]
ItemTimeout = Annotated[float, typer.Option(metavar="S", help="Most seconds for one item.")]
WorkersMax = Annotated[int, typer.Option(min=1, max=256, help="Most workers at once.")]
WorkerWait = Annotated[float, typer.Option(metavar="S", min=0, help="How long to look for a first worker.")]
Blob = Annotated[
    list[str],
    typer.Option(
        "--blob",
        metavar="NAME=FILE|ID",
        help="A file, or a blob by its id, that run(item) reads at /blobs/NAME (PEER_BLOB_NAME); may be repeated.",
    ),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the results go.")]
Name = Annotated[Optional[str], typer.Option(help="What to call the job. (default: the file's name)")]  # noqa: UP045
Force = Annotated[bool, typer.Option("--force", help="Write over results that are already there.")]
Detach = Annotated[bool, typer.Option("--detach", help="Print the job's id and leave it running.")]
Bootstrap = Annotated[
    list[str], typer.Option("--bootstrap", metavar="MULTIADDR", help="A peer to join by; may be repeated.")
]
Data = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--data", metavar="DIR", help="Data folder of the peer. (default: PEER_DATA, or your own)"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What was typed, or not."""

    out: Out = Path("results")
    verify: Verify = "adaptive"
    max_error: MaxError = MAX_ERROR
    max_overhead: MaxOverhead = MAX_OVERHEAD
    assume_liars: AssumeLiars = ASSUME_LIARS
    audit_share: AuditShare = f"{AUDIT_SHARE:.0%}"
    compare: Compare = None
    same_platform: SamePlatform = False
    local: Local = "1"
    cores: Cores = "1"
    memory: Memory = "2G"
    gpu: Gpu = ""
    runtime_version: RuntimeVersion = ""
    disk: Disk = ""
    sandbox: Sandbox = "any"
    max_price: MaxPrice = "10"
    budget: Budget = None
    deadline: Deadline = None
    paired_only: PairedOnly = False
    item_timeout: ItemTimeout = 600.0
    workers_max: WorkersMax = 64
    worker_wait: WorkerWait = 20.0
    blob: Blob = field(default_factory=list)
    name: Name = None
    force: Force = False
    detach: Detach = False
    bootstrap: Bootstrap = field(default_factory=list)
    data: Data = None
    as_json: Json = False

    def needs(self) -> NeedsTyped:
        """What the job requires and may cost."""
        return NeedsTyped(
            self.cores,
            self.memory,
            self.gpu,
            self.runtime_version,
            self.disk,
            self.sandbox,
            self.max_price,
            self.budget,
            self.deadline,
        )


def with_job_options(command: Callable[..., None]) -> Callable[..., None]:
    """A Typer command with the options of all jobs after its own; it gets them as `options`."""
    own = [one for one in inspect.signature(command, eval_str=True).parameters.values() if one.name != "options"]
    hints = get_type_hints(JobOptions, include_extras=True)
    common = [_parameter(one, hints[one.name]) for one in fields(JobOptions)]

    def with_options(**given: Any) -> None:
        options = JobOptions(**{one.name: given.pop(one.name) for one in common})
        command(**given, options=options)

    by_name = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own, *common)]
    with_options.__signature__ = inspect.Signature(by_name)  # type: ignore[attr-defined]
    with_options.__annotations__ = {one.name: one.annotation for one in by_name}
    with_options.__name__, with_options.__doc__ = command.__name__, command.__doc__
    return with_options


def _parameter(one: Field[Any], annotation: object) -> inspect.Parameter:
    default = one.default if one.default_factory is MISSING else one.default_factory()
    return inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
