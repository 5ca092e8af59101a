"""The parts of a `JobRequest` that are the same for all runtimes, from the words of the command line."""

from collections.abc import Mapping

import msgspec

from cli.blob_options import NamedBlob, into_cache, parse_blob_options
from cli.exits import WrongUse
from cli.needs import parse_needs
from cli.submit_options import JobOptions
from peer.control_client import ControlClient
from peer.views import JobRequest
from protocol.errors import LocalError


class RequestForm:
    """The checked options of a job; `request` makes the request once code and items are known. Raises `WrongUse`."""

    def __init__(self, runtime: str, options: JobOptions, *, name: str, compare: str) -> None:
        wanted: dict[str, str | float | int] = {
            "name": options.name or name,
            "verify": options.verify,
            "max_error": options.max_error,
            "max_overhead": options.max_overhead,
            "assume_liars": options.assume_liars,
            "audit_share": _share("--audit-share", options.audit_share),
            "compare": options.compare or compare,
            "same_platform": options.same_platform,
            "paired_only": options.paired_only,
            "item_timeout_s": options.item_timeout,
            "workers_max": options.workers_max,
            "worker_wait_s": options.worker_wait,
        }
        _check_policy(wanted)
        _check_comparator(str(wanted["compare"]))
        self.compare = str(wanted["compare"]).strip()
        self._blobs: list[NamedBlob] = parse_blob_options(options.blob)
        self._fields: dict[str, object] = {
            **wanted,
            "runtime": runtime,
            "local": _slots(options.local),
            **parse_needs(options.needs()),
        }
        self._made("", [])

    def request(self, client: ControlClient, code: str, items: list[object], **more: object) -> JobRequest:
        """The request, its blobs put into the cache of the peer."""
        blobs = [into_cache(client, one) for one in self._blobs]
        return msgspec.structs.replace(self._made(code, items, **more), blobs=blobs)

    def add_blob(self, blob: NamedBlob) -> None:
        """One more that the runtime itself needs; raises `WrongUse` where its name is taken."""
        if any(name == blob[0] for name, _ in self._blobs):
            raise WrongUse(f"--blob: the name {blob[0]} is taken by what the runtime itself needs")
        self._blobs.append(blob)

    def require_version(self, wanted: str) -> None:
        """Of the runtime, where the user has said none."""
        self._fields["runtime_version"] = wanted

    def _made(self, code: str, items: list[object], **more: object) -> JobRequest:
        try:
            return msgspec.convert({**self._fields, "code": code, "items": items, **more}, JobRequest)
        except msgspec.ValidationError as error:
            raise WrongUse(f"an option of the job is out of range: {error}") from error


def _slots(local: str) -> int:
    if local == "off":
        return 0
    if not local.isascii() or not local.isdigit():
        raise WrongUse(f"--local takes a number of slots or `off`, not {local!r}")
    return int(local)


def _check_policy(wanted: Mapping[str, str | float | int]) -> None:
    from protocol.adaptive import parse_policy
    from protocol.planner import Target

    names = ("max_error", "max_overhead", "assume_liars", "audit_share")
    target = Target(**{name: float(wanted[name]) for name in names})
    if problem := target.problem():
        raise WrongUse(f"--{problem}")
    try:
        parse_policy(str(wanted["verify"]), target)
    except LocalError as error:
        raise WrongUse(f"--verify: {error}") from error


def _check_comparator(text: str) -> None:
    from protocol.comparators import parse_comparator

    try:
        parse_comparator(text)
    except LocalError as error:
        raise WrongUse(f"--compare: {error}") from error


def _share(option: str, text: str) -> float:
    """`25%` or `0.25`."""
    number, percent = text.strip(), text.strip().endswith("%")
    try:
        return float(number.rstrip("% ")) / (100 if percent else 1)
    except ValueError:
        raise WrongUse(f"{option} takes a share such as 25% or 0.25, not {text!r}") from None
