"""What `peer start` tells its owner as it runs."""

import json

from cli.start import Voice
from peer.core import ComplaintHeard
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
