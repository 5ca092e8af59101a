"""`peer demo` as a user types it: the sleeper caught, the right answer found, no process left behind."""

import json
import os
import signal
import subprocess
import time

import psutil
import pytest
from e2e_helpers import COMMAND, environment, run_command

from cli.demo.show import HONEST_CHUNKS, SLEEPER

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("alone")]


def test_the_demonstration_catches_the_sleeper_and_finds_a_good_choice():
    pytest.importorskip("sklearn")
    ended = run_command("demo", "--json")
    assert ended.returncode == 0, ended.stderr
    answer = json.loads(ended.stdout)
    job = answer["job"]
    assert (job["items"], job["items_done"], job["items_failed"]) == (72, 72, 0)
    [sleeper] = [one for one in job["workers"] if one["fault"]]
    assert job["verify"] == "adaptive"
    assert job["liars"] == [sleeper["peer"]]
    assert sleeper["fault"] == SLEEPER
    assert sleeper["chunks_done"] > HONEST_CHUNKS
    assert job["revoked"] == sleeper["revoked"] > 0
    assert (sleeper["credits"], sleeper["price"]) == (0, 0)
    assert f"⚠ begins to lie after a while on purpose ({SLEEPER})" in ended.stderr
    assert "caught lying about item" in ended.stderr
    assert answer["best"][0]["accuracy"] > 0.98
    assert answer["true_accuracy"] > 0.97


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_peer_survives_a_demonstration_that_is_interrupted(tmp_path, number):
    pytest.importorskip("sklearn")
    process = subprocess.Popen(
        [*COMMAND, "demo"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        env=environment(TMPDIR=str(tmp_path)), start_new_session=True,
    )  # fmt: skip
    for line in process.stderr:
        if "mallory" in line:
            break
    peers = [one for one in psutil.Process(process.pid).children() if "start" in one.cmdline()]
    assert len(peers) == 4
    os.kill(process.pid, number)
    assert process.wait(timeout=30) == (130 if number == signal.SIGINT else -9)
    process.stderr.close()
    deadline = time.monotonic() + 15
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in peers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if number == signal.SIGINT:
        assert not list(tmp_path.iterdir())
