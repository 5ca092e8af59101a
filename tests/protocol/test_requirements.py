"""What a job requires and what a machine lacks: versions, GPUs, sizes, and how the closest peers are named."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalError
from protocol.ids import PeerId
from protocol.limits import MIB
from protocol.messages.job import JOB_CODEC, Call
from protocol.requirements import (
    GpuOffer,
    Machine,
    Requirements,
    closest_in_words,
    lacks,
    parse_gpu,
    parse_size,
    parse_version_wanted,
    size_in_words,
    version_fits,
)

GIB = 1024 * MIB
A100 = GpuOffer(vendor="nvidia", model="NVIDIA A100-SXM4-40GB", memory_bytes=40 * GIB)
MACHINE = Machine(
    cores=2,
    memory_bytes=4 * GIB,
    disk_bytes=10 * GIB,
    gpus=(A100,),
    versions={"python": "3.11.9"},
    sandboxes={"python": "bubblewrap"},
)
parts = st.lists(st.integers(0, 40), min_size=1, max_size=4)


def missing(machine: Machine = MACHINE, memory_bytes: int = GIB, **needs: object) -> list[str]:
    return list(lacks(Requirements(**needs), memory_bytes, "python", machine))  # type: ignore[arg-type]


def test_a_machine_that_has_everything_lacks_nothing():
    assert missing() == []
    assert missing(cores=2, memory_bytes=4 * GIB, gpu="nvidia:40G", runtime_version=">=3.11", disk_bytes=10 * GIB) == []


def test_each_lack_says_what_there_is_and_what_is_wanted():
    poor = Machine(cores=1, memory_bytes=512 * MIB, versions={"python": "3.10.2"})
    assert missing(poor, cores=4, gpu="any", runtime_version=">=3.11", disk_bytes=3 * GIB // 2) == [
        "cores (1 of 4)",
        "memory (512 MiB of 1 GiB)",
        "disk (0 MiB of 1.5 GiB)",
        "python >=3.11 (it has 3.10.2)",
        "a GPU (none; wanted: any)",
    ]
    assert missing(poor, memory_bytes=0, sandbox="strong") == ["a strong sandbox (it has none)"]
    assert missing(gpu="nvidia:80G") == ["a GPU (NVIDIA A100-SXM4-40GB 40 GiB; wanted: nvidia:80G)"]
    assert missing(Machine(cores=1, memory_bytes=GIB, versions={}), runtime_version="<9") == ["python <9 (it has none)"]


@pytest.mark.parametrize(
    ("kind", "needs", "lacking"),
    [
        ("bubblewrap", "any", []),
        ("bubblewrap", "strong", []),
        ("landlock", "any", []),
        ("landlock", "strong", ["a strong sandbox (it has landlock)"]),
        ("of my own making", "strong", ["a strong sandbox (it has of my own making)"]),
        ("bubblewrap", "stronger", ["sandbox takes any or strong, not 'stronger'"]),
    ],
)
def test_the_least_sandbox(kind, needs, lacking):
    assert missing(replace(MACHINE, sandboxes={"python": kind}), sandbox=needs) == lacking


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("3.11.9", ">=3.11", True),
        ("3.11.9", ">=3.11.10", False),
        ("3.11.9", ">=3.11,<3.12", True),
        ("3.12.0", ">=3.11,<3.12", False),
        ("3.11.0", "==3.11", True),
        ("3.11.9", "==3.11", False),
        ("3.11.9", "==3.11.*", True),
        ("3.11.9", "!=3.11.*", False),
        ("3.14.0rc1", ">=3.14", True),
        ("3.9", ">3.10", False),
        ("", "", True),
        ("", ">=1", False),
        ("three", "!=4", False),
    ],
)
def test_versions(version, wanted, fits):
    assert version_fits(version, wanted) is fits


@given(parts, parts)
def test_versions_are_ordered_as_numbers(one, other):
    mine, theirs = (".".join(map(str, part)) for part in (one, other))
    below, same, above = (version_fits(mine, f"{operator}{theirs}") for operator in ("<", "==", ">"))
    assert [below, same, above].count(True) == 1
    assert version_fits(mine, f">={theirs}") == (same or above)
    assert version_fits(mine, f"!={theirs}") != same


@given(st.text(max_size=40))
def test_whatever_stands_in_a_call_is_met_or_not_but_never_breaks_a_worker(text):
    needs = Requirements(gpu=text, runtime_version=text)
    found = list(lacks(needs, 0, "python", MACHINE))
    assert (needs.problem() is None) or found == [needs.problem()]


@pytest.mark.parametrize("text", ["3.11", ">3.*", ">=3.11;", "~=3", ">=" + "9" * 10])
def test_what_is_no_version(text):
    with pytest.raises(LocalError, match="takes versions such as"):
        parse_version_wanted(text)


def test_gpus_and_sizes():
    assert [parse_gpu(text) for text in ("any", "nvidia", "NVIDIA:16G", "16G", "any:1.5G")] == [
        ("", 0), ("nvidia", 0), ("nvidia", 16 * GIB), ("", 16 * GIB), ("", 3 * GIB // 2),
    ]  # fmt: skip
    assert missing(gpu="a100") == [] and missing(gpu="h100") != []
    assert parse_size("1.5GiB") == 3 * GIB // 2
    assert [size_in_words(size) for size in (0, 512 * MIB, 2 * GIB, 3 * GIB // 2)] == [
        "0 MiB", "512 MiB", "2 GiB", "1.5 GiB",
    ]  # fmt: skip


def test_the_closest_peers_are_named_first_and_the_others_counted():
    found = {PeerId(f"peer-{name}"): ["memory (2 GiB of 4 GiB)"] for name in "dcba"}
    found[PeerId("peer-0")] = ["memory (2 GiB of 4 GiB)", "a GPU (none; wanted: any)"]
    assert closest_in_words(found) == (
        "…peer-a lacks memory (2 GiB of 4 GiB), …peer-b lacks memory (2 GiB of 4 GiB), "
        "…peer-c lacks memory (2 GiB of 4 GiB), and 2 more"
    )
    assert closest_in_words({PeerId("peer-0"): found[PeerId("peer-0")]}).endswith(
        "memory (2 GiB of 4 GiB) and a GPU (none; wanted: any)"
    )


def test_a_call_carries_them_and_an_older_one_has_none():
    call = Call(call_id=1, job="j", runtime="python", slots_wanted=1, price_max=1.0, needs=Requirements(cores=4))  # type: ignore[arg-type]
    assert JOB_CODEC.decode(JOB_CODEC.encode(call)) == call
    assert Call(call_id=1, job="j", runtime="python", slots_wanted=1, price_max=1.0).needs == Requirements()  # type: ignore[arg-type]
