"""A fraud proof from end to end: a real liar, a real file, and its check in the sandbox with no peer running."""

import json

import pytest
from e2e_helpers import make_network, run_command

pytestmark = pytest.mark.slow

SQUARES = "def run(item):\n    return item * item\n"


def test_a_lie_leaves_a_file_that_anyone_can_check(start_peer, job):
    peers = make_network(start_peer, "", "lie:1")
    first, _, liar = peers
    ended = run_command(
        *job.write(SQUARES, list(range(400))), "--verify", "audit:1", "--local", "off", "--data", str(first.folder)
    )
    assert ended.returncode == 0, ended.stderr
    (path,) = json.loads(run_command("proof", "list", "--json", "--data", str(first.folder)).stdout)
    accused = liar.id
    for peer in peers:
        peer.end()
    shown = run_command("proof", "show", path)
    assert shown.returncode == 0 and accused in shown.stdout and "signatures" in shown.stdout
    checked = run_command("proof", "check", path)
    assert checked.returncode == 0, checked.stderr
    assert f"{accused[-8:]} gave a wrong result" in checked.stdout
    answer = json.loads(run_command("proof", "check", path, "--json").stdout)
    assert answer["verdict"] == "proven" and answer["result_here_sha256"] != answer["result_sha256"]


def test_files_that_prove_nothing_end_with_one_line(tmp_path):
    (tmp_path / "text.proof").write_text("hello")
    for words, story in ((["show"], "does not begin as one"), (["check"], "does not begin as one")):
        ended = run_command("proof", *words, str(tmp_path / "text.proof"))
        assert ended.returncode == 2
        assert story in ended.stderr and ended.stderr.count("\n") == 1 and "Traceback" not in ended.stderr
    assert "no proof against anybody" in run_command("proof", "list", "--data", str(tmp_path)).stdout
