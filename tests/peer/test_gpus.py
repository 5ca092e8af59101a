"""GPUs from made-up data: there is no real one where the tests run."""

import sys
from types import SimpleNamespace

from peer.gpus import find_gpus, from_nvml, from_proc
from protocol.requirements import GPUS_PER_PEER_MAX, GpuOffer

INFORMATION = """Model: \t\t NVIDIA GeForce RTX 3090
IRQ:   \t\t 153
GPU UUID: \t GPU-00000000-0000-0000-0000-000000000000
Video BIOS: \t 94.02.42.00.b4
Bus Type: \t PCIe
"""


class NVMLError(Exception):
    pass


def nvml(names, broken_at=None):
    """A module like pynvml with these devices."""
    ended = []

    def step(name, value):
        if name == broken_at:
            raise NVMLError("driver not loaded")
        return value

    return SimpleNamespace(
        NVMLError=NVMLError, ended=ended, nvmlInit=lambda: step("init", None), nvmlShutdown=lambda: ended.append(True),
        nvmlDeviceGetCount=lambda: step("count", len(names)), nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: names[handle],
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(total=(handle + 1) * 2**30),
    )  # fmt: skip


def test_nvml_tells_models_and_memory():
    library = nvml(["NVIDIA A100", b"NVIDIA T4"])
    assert from_nvml(library) == [
        GpuOffer(vendor="nvidia", model="NVIDIA A100", memory_bytes=2**30),
        GpuOffer(vendor="nvidia", model="NVIDIA T4", memory_bytes=2**31),
    ]
    assert library.ended == [True]


def test_an_nvml_that_fails_tells_nothing_and_is_shut_down():
    assert from_nvml(nvml([], "init")) == []
    library = nvml([], "count")
    assert from_nvml(library) == [] and library.ended == [True]


def test_the_kernel_driver_tells_models(tmp_path):
    for place in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / place).mkdir()
    (tmp_path / "0000:01:00.0" / "information").write_text(INFORMATION)
    (tmp_path / "0000:02:00.0" / "information").write_text("IRQ: 1\n")
    assert list(from_proc(tmp_path)) == [GpuOffer(vendor="nvidia", model="NVIDIA GeForce RTX 3090")]
    assert list(from_proc(tmp_path / "none")) == []


def test_the_library_goes_before_the_kernel_and_the_number_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("peer.gpus.PROC_FOLDER", tmp_path)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert find_gpus() == ()
    monkeypatch.setitem(sys.modules, "pynvml", nvml([f"GPU {n}" for n in range(40)]))
    assert len(find_gpus()) == GPUS_PER_PEER_MAX
