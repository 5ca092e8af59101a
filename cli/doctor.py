"""`peer doctor`: what is wrong with this machine or its peer, and what mends it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cli.console import print_json, show
from cli.exits import DONE, FAILED
from peer.control_client import ControlClient
from peer.data_folder import DataFolder
from protocol.errors import LocalError, Unavailable

if TYPE_CHECKING:
    from peer.doctor.check import Check
    from peer.doctor.network_checks import Asked


def run_doctor(folder: DataFolder, *, as_json: bool) -> int:
    """Look at everything and show it; returns the exit code."""
    from peer.doctor.check import Diagnosis

    found = Diagnosis.of(list(_checks(folder)))
    if as_json:
        print_json(found)
    else:
        from cli.doctor_show import diagnosis_view

        show(diagnosis_view(found))
    return DONE if found.can_work else FAILED


def _checks(folder: DataFolder) -> Iterator["Check"]:
    from peer.doctor.folder_checks import folder_checks, settings_of
    from peer.doctor.machine_checks import blender_check, gpu_check, python_check
    from peer.doctor.network_checks import network_checks
    from peer.doctor.sandbox_checks import sandbox_checks

    yield python_check()
    yield from folder_checks(folder)
    yield from network_checks(_asked(folder))
    yield from sandbox_checks(settings_of(folder))
    yield gpu_check()
    yield blender_check()


def _asked(folder: DataFolder) -> "Asked":
    from peer.doctor.network_checks import Asked

    client = ControlClient(folder.socket())
    try:
        status = client.status()
    except (Unavailable, LocalError):
        return Asked(silent=str(folder.log) if folder.owner() is not None else "")
    try:
        return Asked(status, client.peers())
    except (Unavailable, LocalError):
        return Asked(status)
