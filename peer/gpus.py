"""Which graphics processors this machine has: from NVML where its Python module is installed, else from /proc.

Only NVIDIA's are found. This peer announces them, and jobs may ask for them; the python runtime's sandbox does not hand
them in. It was tested with made-up data alone.
"""

import importlib
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, cast

from protocol.requirements import GPUS_PER_PEER_MAX, GpuOffer

PROC_FOLDER = Path("/proc/driver/nvidia/gpus")
MODEL_LENGTH_MAX = 64

log = logging.getLogger(__name__)


class NvmlMemory(Protocol):
    """What NVML says of a device's memory."""

    total: int


class Nvml(Protocol):
    """The part of the module `pynvml` (package nvidia-ml-py) that is used. Its errors are of the type `NVMLError`."""

    NVMLError: type[Exception]
    nvmlInit: Callable[[], None]  # noqa: N815
    nvmlShutdown: Callable[[], None]  # noqa: N815
    nvmlDeviceGetCount: Callable[[], int]  # noqa: N815
    nvmlDeviceGetHandleByIndex: Callable[[int], object]  # noqa: N815
    nvmlDeviceGetName: Callable[[object], str | bytes]  # noqa: N815
    nvmlDeviceGetMemoryInfo: Callable[[object], NvmlMemory]  # noqa: N815


def find_gpus() -> tuple[GpuOffer, ...]:
    """At most `GPUS_PER_PEER_MAX`; none where none can be told."""
    try:
        nvml = cast(Nvml, importlib.import_module("pynvml"))
    except ImportError:
        return tuple(from_proc(PROC_FOLDER))[:GPUS_PER_PEER_MAX]
    return tuple(from_nvml(nvml))[:GPUS_PER_PEER_MAX] or tuple(from_proc(PROC_FOLDER))[:GPUS_PER_PEER_MAX]


def from_nvml(nvml: Nvml) -> list[GpuOffer]:
    """What the driver's library tells; nothing when it fails."""
    try:
        nvml.nvmlInit()
        try:
            handles = map(nvml.nvmlDeviceGetHandleByIndex, range(nvml.nvmlDeviceGetCount()))
            return [_offer(nvml.nvmlDeviceGetName(one), nvml.nvmlDeviceGetMemoryInfo(one).total) for one in handles]
        finally:
            nvml.nvmlShutdown()
    except nvml.NVMLError as error:
        log.info("NVML does not tell of GPUs: %s", error)
        return []


def from_proc(folder: Path) -> Iterator[GpuOffer]:
    """What the kernel's driver tells: models, without their memory."""
    for file in sorted(folder.glob("*/information")):
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            log.info("%s cannot be read: %s", file, error)
            continue
        if found := re.search(r"^Model:\s*(\S.*)$", text, re.MULTILINE):
            yield _offer(found[1], 0)


def _offer(name: str | bytes, memory_bytes: int) -> GpuOffer:
    model = name.decode(errors="replace") if isinstance(name, bytes) else name
    return GpuOffer(vendor="nvidia", model=model.strip()[:MODEL_LENGTH_MAX], memory_bytes=memory_bytes)
