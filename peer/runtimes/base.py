"""The interface of a runtime. Others add theirs as entry points of the group `parallel_peer.runtimes`.

A runtime says what this machine has, and what the sandbox needs for it. The rest is the same for all: a warm Python
process in a sandbox loads the runtime's file, `load(job)` in it gives a function, and that is called with one item
after another. What it returns is data (`peer/execution/runner_data.py`), with files as `pathlib.Path`.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from peer.execution.interpreter import Inside
from protocol.bodies import Manifest

ENTRY_POINTS = "parallel_peer.runtimes"
PROGRAMS_MAX = 10
"""Offered by one peer to command jobs: each is a name in the directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What this machine can run. Without `versions`, `problem` says why not and `fix` what helps."""

    versions: Mapping[str, str] = field(default_factory=dict)
    """By the name under which jobs ask for it: `python`, or `command:ffmpeg` where one runtime has several."""
    problem: str = ""
    fix: str = ""


class Runtime(Protocol):
    """One way to run chunks. Methods may be called often: what takes time is to be remembered.

    One that finds its files by its variables and `TMPDIR`, wherever they lie, may say `in_place = True`: then it is
    offered in every kind of sandbox, and else only in those that can show files at the places of its `binds`.
    """

    name: str
    """The first part of the names that it goes by: `python`, `command` (of `command:ffmpeg`)."""
    compare: str
    """The comparator of jobs that do not say one."""

    def probe(self) -> Probe:
        """What is here. May take a second the first time."""

    def environment(self, runtime: str) -> bytes:
        """Digest of what a result may depend on besides code and input; raises `LocalError` where it is not here."""

    def inside(self, manifest: Manifest) -> Inside:
        """What the sandbox needs for this job; raises `LocalError` that says why it cannot be run here."""


@runtime_checkable
class Prepares(Protocol):
    """A runtime that makes something ready for a job, which takes time: its `prepared` is used instead of `inside`."""

    def prepared(self, manifest: Manifest, folder: Path) -> AbstractAsyncContextManager[Inside]:
        """What the sandbox needs, for as long as the context lasts; `folder` is the runtime's own, to keep things in.

        Outside of all time limits of chunks. Raises `LocalError` that says why the job cannot be run here.
        """
