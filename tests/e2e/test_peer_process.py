"""`peer start` as a process: identity, one instance per folder, clean ends, joining by addresses that fail."""

import json
import os
import signal
import socket
import stat
import subprocess

import pytest
from e2e_helpers import COMMAND, Peer, run_command, start_one, wait_until_known

NOBODY = "12D3KooWHMeDDPeMVKS8iektCF2N7qCDAVcwJR96adz7ndnH576N"

pytestmark = pytest.mark.slow


def test_a_peer_keeps_its_identity_and_its_address_over_restarts(start_peer, tmp_path):
    first = start_peer("a")
    identity, line = first.id, first.bootstrap
    assert line.endswith(f"/p2p/{identity}")
    assert first.end() == 0
    assert stat.S_IMODE((tmp_path / "a" / "identity.key").stat().st_mode) == 0o600
    again = start_peer("a")
    assert again.id == identity


def test_the_usual_place_to_listen_is_kept_over_restarts(tmp_path):
    def line() -> str:
        process = subprocess.Popen(
            [*COMMAND, "start", "--json", "--data", str(tmp_path / "a"), "--slots", "0"], stdout=subprocess.PIPE
        )
        ready = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        return ready["bootstrap"][0]

    assert line() == line()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(start_peer, number):
    peer = start_peer("a")
    peer.wait_for("joined")
    assert peer.end(number) == 0
    assert not (peer.folder / "control.sock").exists()
    assert "Traceback" not in peer.log.read_text()


def test_a_second_instance_on_the_folder_is_refused_and_names_the_first(start_peer):
    first = start_peer("a")
    first.wait_for("ready")
    second = run_command("start", "--data", str(first.folder))
    assert second.returncode == 1
    assert f"already runs on {first.folder} (process {first.process.pid})" in second.stderr
    assert second.stderr.count("\n") == 1
    first.process.kill()
    first.process.wait()
    assert start_peer("a").id == first.id


def test_a_peer_whose_reader_is_gone_goes_on(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "start", "--data", str(tmp_path / "a")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().startswith("peer ")
    process.stdout.close()
    while run_command("status", "--data", str(tmp_path / "a")).returncode:
        assert process.poll() is None
    assert run_command("stop", "--data", str(tmp_path / "a")).returncode == 0
    assert process.wait(timeout=10) == 0
    assert "BrokenPipe" not in process.stderr.read()
    process.stderr.close()


def test_status_peers_and_stop(start_peer):
    peer = start_peer("a", "--fault", "slow:10")
    peer.wait_for("joined")
    status = json.loads(run_command("status", "--json", "--data", str(peer.folder)).stdout)
    assert (status["peer"], status["pid"], status["fault"]) == (peer.id, peer.process.pid, "slow:10")
    shown = run_command("status", "--data", str(peer.folder)).stdout
    assert "⚠ is slow on purpose (slow:10)" in shown
    assert peer.bootstrap in shown
    assert run_command("stop", "--data", str(peer.folder)).returncode == 0
    assert peer.process.wait(timeout=5) == 0
    gone = run_command("status", "--data", str(peer.folder))
    assert gone.returncode == 1
    assert "no peer runs on" in gone.stderr


def test_a_folder_with_a_long_name_works(start_peer):
    peer = start_peer("deep" * 40)
    peer.wait_for("ready")
    assert run_command("status", "--data", str(peer.folder)).returncode == 0


def test_peers_find_one_another_and_show_the_fault(start_peer):
    first = start_peer("a")
    liar = start_peer("b", "--bootstrap", first.bootstrap, "--fault", "lie:0.3", "--price", "2.5")
    assert liar.wait_for("joined")["contacts"] == 1
    assert liar.wait_for("bootstrap")["error"] == ""
    (view,) = _wait_for_peers(first)
    assert (view["peer"], view["fault"], view["price"], view["connected"]) == (liar.id, "lie:0.3", 2.5, True)
    shown = run_command("peers", "--data", str(first.folder)).stdout
    assert "⚠ lies on purpose (lie:0.3)" in shown


def test_a_peer_that_is_gone_is_shown_as_not_answering(start_peer):
    """Its record lives on for minutes: whether it answers is tried, not guessed."""
    first = start_peer("a")
    second = start_peer("b", "--bootstrap", first.bootstrap)
    second.wait_for("joined")
    (view,) = _wait_for_peers(first)
    assert view["reachable"] is True
    assert second.end(signal.SIGKILL) == -signal.SIGKILL
    (view,) = json.loads(run_command("peers", "--json", "--data", str(first.folder)).stdout)
    assert (view["peer"], view["reachable"]) == (second.id, False)
    assert "no answer" in run_command("peers", "--data", str(first.folder)).stdout


def test_a_restarted_peer_finds_its_network_again_without_being_told(start_peer):
    first = start_peer("a")
    second = start_peer("b", "--bootstrap", first.bootstrap)
    second.wait_for("joined")
    _wait_for_peers(first)
    assert second.end() == 0
    again = start_peer("b")
    assert again.wait_for("joined")["contacts"] == 1


def test_each_address_that_fails_is_named_with_its_reason_and_the_others_are_used(start_peer):
    first = start_peer("a")
    second = start_peer("b")
    place = second.bootstrap.partition("/p2p/")[0]
    unreachable, foreign = f"/ip4/127.0.0.1/tcp/1/p2p/{NOBODY}", f"{place}/p2p/{_other_id(first.id)}"
    third = start_peer("c", "--bootstrap", unreachable, "--bootstrap", foreign, "--bootstrap", first.bootstrap)
    assert third.wait_for("joined")["contacts"] >= 1
    errors = {event["address"]: event["error"] for event in third.events if event["event"] == "bootstrap"}
    assert errors[first.bootstrap] == ""
    assert "cannot reach" in errors[unreachable]
    assert second.id in errors[foreign] or "peer id" in errors[foreign]


def test_a_peer_whose_addresses_all_fail_stands_alone_and_says_so(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "start", "--data", str(tmp_path / "a"), "--bootstrap", f"/ip4/127.0.0.1/tcp/1/p2p/{NOBODY}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    while not lines or "standing alone" not in lines[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1]
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=20)
    assert "none of the given peers answers" in lines[-1]
    assert "cannot join by /ip4/127.0.0.1/tcp/1" in complaints
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bootstrap", "/ip4/127.0.0.1/tcp/1"], "has no peer id"),
        (["--bootstrap", f"localhost:1/p2p/{NOBODY}"], "is not an address of the form"),
        (["--bootstrap", "/ip4/127.0.0.1/tcp/1/p2p/nobody"], "nobody"),
        (["--listen", "/ip4/300.0.0.1/tcp/1"], "not an IPv4 address"),
        (["--fault", "steal:0.3"], "no such fault"),
    ],
)
def test_what_is_malformed_ends_it_before_anything_starts(tmp_path, options, message):
    ended = run_command("start", "--data", str(tmp_path / "a"), *options)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "a").exists()


def test_a_damaged_key_a_taken_port_and_a_folder_that_cannot_be_used_are_one_line_each(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "identity.key").write_bytes(b"short")
    damaged = run_command("start", "--data", str(tmp_path / "a"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = run_command("start", "--data", str(tmp_path / "b"), "--listen", f"/ip4/127.0.0.1/tcp/{port}")
    (tmp_path / "file").write_text("")
    unusable = run_command("start", "--data", str(tmp_path / "file"))
    for ended, message in ((damaged, "is damaged"), (refused, str(port)), (unusable, "cannot use the data folder")):
        assert ended.returncode == 1
        assert message in ended.stderr
        assert ended.stderr.count("\n") == 1, ended.stderr


def test_a_peer_ends_with_the_process_that_started_it(tmp_path):
    child = start_one(tmp_path / "a")
    child.process.kill()
    child.process.communicate()
    process = subprocess.Popen(
        [*COMMAND, "start", "--json", "--data", str(tmp_path / "b"), "--end-with-input"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert json.loads(process.stdout.readline())["event"] == "ready"
    process.stdin.close()
    assert process.wait(timeout=10) == 0
    process.stdout.close()


def _wait_for_peers(peer: Peer) -> list[dict]:
    wait_until_known(peer, 1)
    return json.loads(run_command("peers", "--json", "--data", str(peer.folder)).stdout)


def _other_id(peer: str) -> str:
    """The id of another key, as well formed as this one."""
    from protocol.ids import peer_id_from_public_key

    other = peer_id_from_public_key(os.urandom(32))
    assert other != peer
    return other
