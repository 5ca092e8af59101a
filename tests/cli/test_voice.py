"""What `peer start` tells its owner as it runs."""

import json

from cli.start import Voice
from peer.core import ComplaintHeard, JobsResumed
from protocol.ids import PeerId

COMPLAINT = ComplaintHeard(PeerId("12D3KooWHMeDDPeMVKS8iektCF2N7qCDAVcwJR96adz7ndnH576N"), "item 3 of job j; \x1b[2J")


def test_a_complaint_is_one_line_that_names_who_says_so(capsys):
    Voice(as_json=False, given=0).tell(COMPLAINT)
    assert capsys.readouterr().out == (
        "a coordinator found a result of this machine wrong: item 3 of job j; \ufffd[2J (ndnH576N says so)\n"
    )


def test_programs_get_a_complaint_as_an_event(capsys):
    Voice(as_json=True, given=0).tell(COMPLAINT)
    event = json.loads(capsys.readouterr().out)
    assert (event["event"], event["coordinator"]) == ("complaint", COMPLAINT.coordinator)


def test_jobs_that_go_on_are_told(capsys):
    for jobs in (1, 2):
        Voice(as_json=False, given=0).tell(JobsResumed(jobs))
    Voice(as_json=True, given=0).tell(JobsResumed(3))
    first, second, event = capsys.readouterr().out.splitlines()
    assert first == "1 unfinished job goes on: `peer job list`"
    assert second == "2 unfinished jobs go on: `peer job list`"
    assert json.loads(event) == {"event": "resumed", "jobs": 3}
