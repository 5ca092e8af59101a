"""What a power cut can leave of a journal: a log of all that SQLite does to its files, and disks that follow from it.

A small library, loaded before all others, writes down every write, cut and flush of the journal and of its log (WAL).
On the disk is what was flushed, and of what was written since then any sectors, in any order, or none.
"""

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

SECTOR_BYTES = 512
_HEADER = struct.Struct("=cBqq")
_FILES = ("journal.sqlite", "journal.sqlite-wal", "mark")
_MARK = 2

SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int story = -1;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("POWER_CUT_STORY");
    if (path) story = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int file_of(int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size <= 0) return -1;
    path[size] = 0;
    const char *name = strrchr(path, '/');
    if (!name) return -1;
    if (!strcmp(name, "/journal.sqlite")) return 0;
    if (!strcmp(name, "/journal.sqlite-wal")) return 1;
    return strcmp(name, "/mark") ? -1 : 2;
}

static void note(char what, int file, long long offset, long long size, const void *data) {
    int which = story < 0 ? -1 : file_of(file);
    if (which < 0) return;
    char head[18];
    head[0] = what; head[1] = which;
    memcpy(head + 2, &offset, 8); memcpy(head + 10, &size, 8);
    syscall(SYS_write, story, head, sizeof head);
    if (data) syscall(SYS_write, story, data, size);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t offset) {
    ssize_t done = syscall(SYS_pwrite64, file, data, size, offset);
    if (done > 0) note('w', file, offset, done, data);
    return done;
}
ssize_t pwrite64(int file, const void *data, size_t size, off64_t offset) { return pwrite(file, data, size, offset); }

ssize_t write(int file, const void *data, size_t size) {
    ssize_t done = syscall(SYS_write, file, data, size);
    if (done > 0) note('w', file, lseek(file, 0, SEEK_CUR) - done, done, data);
    return done;
}

int ftruncate(int file, off_t size) {
    int failed = syscall(SYS_ftruncate, file, size);
    if (!failed) note('t', file, size, 0, NULL);
    return failed;
}
int ftruncate64(int file, off64_t size) { return ftruncate(file, size); }

int fsync(int file) {
    int failed = syscall(SYS_fsync, file);
    if (!failed) note('s', file, 0, 0, NULL);
    return failed;
}
int fdatasync(int file) {
    int failed = syscall(SYS_fdatasync, file);
    if (!failed) note('s', file, 0, 0, NULL);
    return failed;
}
"""


def why_no_power_cuts() -> str:
    """Why this cannot be tried here; empty where it can."""
    return "" if shutil.which("gcc") and sys.platform == "linux" else "no power cuts here: they need Linux and gcc"


@dataclass(frozen=True)
class Step:
    """Something that was done to a file; `w`rite, `t`runcate, `s`ync."""

    what: str
    file: int
    offset: int
    data: bytes


@dataclass
class Story:
    """All steps, and for each mark the step at which it was made, with what was said there."""

    steps: list[Step]
    marks: list[tuple[int, object]]


def story_of(script: str, folder: Path) -> Story:
    """What `script` does to `folder`/journal.sqlite. It makes a mark by writing a line of JSON to `folder`/mark."""
    library, log = folder / "story.so", folder / "story"
    words = ["gcc", "-shared", "-fPIC", "-O1", "-w", "-o", str(library), "-x", "c", "-"]
    subprocess.run(words, input=SOURCE, text=True, check=True, capture_output=True)
    more = {"LD_PRELOAD": str(library), "POWER_CUT_STORY": str(log), "PYTHONPATH": ":".join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", script], env=more, capture_output=True, text=True, check=False)
    assert ran.returncode == -9, ran.stderr  # It kills itself: closing would move the log into the file.
    story = Story([], [])
    for step in _steps(log.read_bytes()):
        if step.file != _MARK:
            story.steps.append(step)
        elif step.what == "w":
            story.marks.append((len(story.steps), json.loads(step.data)))
    return story


def _steps(log: bytes) -> Iterator[Step]:
    at = 0
    while at < len(log):
        what, file, offset, size = _HEADER.unpack_from(log, at)
        at += _HEADER.size
        yield Step(what.decode(), file, offset, log[at : at + size])
        at += size


@dataclass
class _File:
    flushed: bytearray = field(default_factory=bytearray)
    since: list[Step] = field(default_factory=list)

    def take(self, step: Step) -> None:
        if step.what == "s":
            for one in self.since:
                _do(self.flushed, one)
            self.since.clear()
        else:
            self.since.append(step)

    def after_cut(self, random: Random, share: float) -> bytes:
        """With about this share of the sectors that were written since the last flush."""
        left = bytearray(self.flushed)
        for step in self.since:
            for part in _sectors(step):
                if random.random() < share:
                    _do(left, part)
        return bytes(left)


def _sectors(step: Step) -> Iterator[Step]:
    if step.what != "w":
        yield step
        return
    for start in range(0, len(step.data), SECTOR_BYTES):
        yield Step("w", step.file, step.offset + start, step.data[start : start + SECTOR_BYTES])


def _do(content: bytearray, step: Step) -> None:
    if step.what == "t":
        del content[step.offset :]
        content.extend(bytes(step.offset - len(content)))
        return
    end = step.offset + len(step.data)
    content.extend(bytes(max(0, end - len(content))))
    content[step.offset : end] = step.data


def disk_after(story: Story, steps: int, folder: Path, random: Random, share: float) -> Path:
    """The journal in an empty `folder` as the power goes after so many steps."""
    folder.mkdir()
    files = [_File(), _File()]
    for step in story.steps[:steps]:
        files[step.file].take(step)
    for name, file in zip(_FILES, files, strict=False):
        (folder / name).write_bytes(file.after_cut(random, share))
    return folder / _FILES[0]
