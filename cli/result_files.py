"""The files of a job's results, copied out of the cache as they come.

The peer's cache is on this machine, so a file is copied from there. A result may be taken back while the job runs, and
replaced by another: so what counts in the end is written once more where it is not what is there.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

from cli.results import REPORT_NAME, RESULTS_NAME
from peer.control_client import ControlClient
from peer.disk import disk_errors
from peer.views import JobState, JobView
from protocol.errors import BadFrame
from protocol.files import FILE_KEY, FileRef, with_files

LOOK_INTERVAL_S = 2.0
"""Between two looks at the results of a job that runs."""
FILES_FOLDER = "files"
FREE_NAMES = ("python", "python-env", "wasm")
"""Runtimes whose code calls its files what it likes; the others make a name for each item."""
OUR_NAMES = (RESULTS_NAME, REPORT_NAME, FILES_FOLDER)
_MARK = f'"{FILE_KEY}"'.encode()


class ResultFolder:
    """The folder of the results of one job.

    A file of item 3 is `files/3/NAME`, or `NAME` where the runtime has made names of its own: those of the `FREE_NAMES`
    may be anything, twice the same too. So may what a liar gives: a name that another item has, or that is ours, goes
    below `files` as well.
    """

    def __init__(self, client: ControlClient, job: str, out: Path) -> None:
        self._client = client
        self._job = job
        self._out = out
        self._written: dict[Path, str] = {}
        """The blob that each file is a copy of."""
        self._counting: dict[Path, int] = {}
        """Those that some result names, with the item that does."""
        self._cache: Path | None = None
        self._flat = False
        self._looked_at = 0.0
        self._done = 0

    def on_view(self, view: JobView) -> None:
        """Copy what is new; now and then, and only when something is."""
        now = time.monotonic()
        if view.items_done == self._done or now < self._looked_at + LOOK_INTERVAL_S or view.state is JobState.CALLING:
            return
        self._looked_at, self._done = now, view.items_done
        for _ in self._lines():
            pass

    def complete(self) -> Iterator[bytes]:
        """All lines of the results, with the paths of their files; those that count no longer are removed."""
        before, self._counting = set(self._written), {}
        yield from self._lines()
        for path in sorted(before - self._counting.keys()):
            path.unlink(missing_ok=True)

    def _lines(self) -> Iterator[bytes]:
        self._flat = self._client.job(self._job).runtime.partition(":")[0] not in FREE_NAMES
        for line in self._client.result_lines(self._job):
            yield self._with_paths(line) if _MARK in line else line

    def _with_paths(self, text: bytes) -> bytes:
        """Copies the files of a line; the line says where they are."""
        line = json.loads(text)
        try:
            line["result"] = with_files(line.get("result"), lambda file: self._copied(line["item"], file))
        except BadFrame:  # text that looks like a file
            return text
        return json.dumps(line, ensure_ascii=False).encode()

    def _copied(self, item: int, file: FileRef) -> object:
        place = Path(file.name)
        if not self._flat or file.name in OUR_NAMES or self._counting.get(self._out / place, item) != item:
            place = Path(FILES_FOLDER) / str(item) / file.name
        path = self._out / place
        self._counting[path] = item
        if self._written.get(path) != file.blob:
            self._copy(file, path)
            self._written[path] = file.blob
        return {FILE_KEY: {"name": file.name, "blob": file.blob, "size_bytes": file.size_bytes, "path": str(place)}}

    def _copy(self, file: FileRef, path: Path) -> None:
        from cli.blob_transfer import copy_out

        if self._cache is None:
            self._cache = Path(self._client.cache().folder)
        with disk_errors(f"write {path}", path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        copy_out(self._cache / file.blob, path)
