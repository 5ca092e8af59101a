"""`peer submit --compare` end to end: real peers, the real sandbox, a liar among them."""

import json
import math

import pytest
from e2e_helpers import make_network, run_command

pytestmark = pytest.mark.slow

SUMS = """
import math, os

salt = os.urandom(8)


def run(item):
    "A sum in an order that differs from process to process."
    order = sorted(range(5000), key=lambda n: hash((salt, n)))
    return {"sum": sum([math.cos(n) * (item + 1) for n in order], 0.0), "item": item}


def verify(item, result):
    right = math.fsum(math.cos(n) * (item + 1) for n in range(5000))
    return result["item"] == item and math.isclose(result["sum"], right, rel_tol=1e-6)
"""


@pytest.mark.parametrize(("compare", "verify"), [("tolerance:1e-6,1e-9", "audit:1"), ("verify", "adaptive")])
def test_honest_peers_may_differ_and_a_liar_may_not(start_peer, job, compare, verify):
    peers = make_network(start_peer, "", "lie:1")
    words = [*job.write(SUMS, list(range(200))), "--compare", compare, "--verify", verify, "--local", "off"]
    ended = run_command(*words, "--data", str(peers[0].folder))
    assert ended.returncode == 0, ended.stderr
    report = job.report()
    assert report["liars"] == [peers[2].id] and report["compare"] == compare and report["comparison"]
    for line in job.results():
        right = math.fsum(math.cos(n) * (line["item"] + 1) for n in range(5000))
        assert line["result"]["item"] == line["item"] and math.isclose(line["result"]["sum"], right, rel_tol=1e-6)
    (path,) = json.loads(run_command("proof", "list", "--json", "--data", str(peers[0].folder)).stdout)
    checked = json.loads(run_command("proof", "check", path, "--json").stdout)
    assert checked["verdict"] == ("open" if compare == "verify" else "proven"), checked
