"""`peer status | peers | stop`: ask the running peer about itself."""

import time

from cli.console import print_json, say, show
from peer.control_client import ControlClient
from peer.data_folder import DataFolder
from protocol.errors import LocalError

STOP_TIMEOUT_S = 10.0
STOP_POLL_S = 0.05


def show_status(client: ControlClient, *, as_json: bool) -> None:
    """The peer itself."""
    status = client.status()
    if as_json:
        print_json(status)
        return
    from cli.show import status_table

    show(status_table(status))


def show_peers(client: ControlClient, *, as_json: bool) -> None:
    """What the directory knows."""
    peers = client.peers()
    if as_json:
        print_json(peers)
        return
    from cli.show import peers_table

    show(peers_table(peers))


def stop_peer(client: ControlClient, folder: DataFolder, *, as_json: bool) -> None:
    """Ask it to end and wait until it has; raises `LocalError` when it does not."""
    owner = folder.owner()
    client.stop()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while folder.owner() is not None:
        if time.monotonic() > deadline:
            raise LocalError(f"the peer (process {owner}) was asked to stop but still runs; its log may say why")
        time.sleep(STOP_POLL_S)
    if as_json:
        print_json({"stopped": owner})
    else:
        say(f"stopped (process {owner})")
