"""The options of `peer submit` about checking, workers, what the job requires and what it may cost."""

# Typer reads these annotations when the program runs, so `Optional` and not `| None`.
from typing import Annotated, Optional

import typer

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
    str,
    typer.Option(
        metavar="HOW",
        help="When two results are the same: exact, canonical, tolerance:RTOL,ATOL, tolerance:auto, image:DB; "
        "verify: the job file's verify(item, result) checks each instead.",
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
