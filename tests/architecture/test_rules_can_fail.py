"""Each rule, shown a snippet that breaks it and one that does not."""

import call_rules
import import_rules
import pytest
import shape_rules
from source_tree import Source


def source(path: str, text: str) -> Source:
    return Source(path, text)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("protocol/x.py", "import dht.lookup"),
        ("protocol/x.py", "def f():\n    from peer import node"),
        ("dht/x.py", "from peer.seam import Seam"),
        ("peer/x.py", "import cli.main"),
        ("peer/execution/x.py", "from simulations import memory_host"),
        ("cli/x.py", "import simulations"),
        ("cli/x.py", "def f():\n    import simulations"),
        ("cli/simulate.py", "from simulations import store"),
        ("peer/simulate.py", "def f():\n    import simulations"),
        ("simulations/x.py", "from cli import main"),
        ("peer/x.py", "import tests.helpers"),
        ("peer/x.py", "from ..simulations import memory_host"),
    ],
)
def test_wrong_direction(path: str, text: str) -> None:
    assert list(import_rules.wrong_direction(source(path, text)))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("protocol/x.py", "import protocol.ids"),
        ("dht/x.py", "from protocol.ids import PeerId"),
        ("peer/x.py", "from . import views"),
        ("simulations/x.py", "import peer.seam, dht, protocol"),
        ("cli/simulate_show.py", "def f():\n    import simulations.run"),
        ("cli/simulate.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import simulations.result"),
    ],
)
def test_right_direction(path: str, text: str) -> None:
    assert not list(import_rules.wrong_direction(source(path, text)))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("protocol/x.py", "import trio"),
        ("protocol/x.py", "import time"),
        ("protocol/x.py", "from os import path"),
        ("protocol/x.py", "def f():\n    import sqlite3"),
        ("dht/x.py", "from libp2p import new_host"),
        ("dht/x.py", "import datetime"),
        ("peer/node.py", "import libp2p.peer.id"),
        ("peer/execution/libp2p_host.py", "import libp2p"),
        ("cli/x.py", "import libp2p"),
        ("simulations/x.py", "import socket"),
    ],
)
def test_banned_modules(path: str, text: str) -> None:
    assert list(import_rules.banned_modules(source(path, text)))


@pytest.mark.parametrize("path", ["peer/libp2p_host.py", "peer/libp2p_fixes_yamux.py"])
def test_libp2p_in_its_room(path: str) -> None:
    assert not list(import_rules.banned_modules(source(path, "import libp2p")))


def test_cycle() -> None:
    a = source("peer/a.py", "from peer import b")
    b = source("peer/b.py", "def f():\n    import protocol.c")
    c = source("protocol/c.py", "from peer.a import thing")
    assert set(import_rules.cycle([a, b, c])) == {"peer.a", "peer.b", "protocol.c"}
    assert not import_rules.cycle([a, b])


def test_imports_for_types_make_no_cycle() -> None:
    a = source("peer/a.py", "from peer import b")
    b = source("peer/b.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from peer.a import A")
    assert not import_rules.cycle([a, b])


CALLS = {
    call_rules.clocks: [
        "import time\ntime.time()",
        "import time as t\nx = t.monotonic",
        "from time import perf_counter as now\nnow()",
        "import datetime\ndatetime.datetime.now()",
        "from datetime import datetime\ndatetime.now()",
    ],
    call_rules.entropy: [
        "import secrets\nsecrets.token_bytes(3)",
        "from os import urandom\nurandom(3)",
        "import os\nx = os.urandom",
        "import random\nrandom.random()",
        "from random import choice\nchoice([1])",
        "from random import Random\nRandom()",
        "from random import Random\nRandom(7)",
        "import random\nrandom.SystemRandom()",
        "from uuid import uuid4\nuuid4()",
        "import numpy as np\nnp.random.rand()",
    ],
    call_rules.processes: [
        "import subprocess\nsubprocess.run([])",
        "from subprocess import Popen\nPopen([])",
        "import trio\nasync def f():\n    await trio.run_process([])",
        "import trio\nx = trio.lowlevel.open_process",
        "import os\nos.fork()",
    ],
    call_rules.files: ["open('x')", "def f():\n    print(1)", "eval('1')"],
    call_rules.broad_excepts: [
        "try:\n    pass\nexcept:\n    pass",
        "try:\n    pass\nexcept Exception:\n    pass",
        "try:\n    pass\nexcept (ValueError, BaseException):\n    x = 1",
        "try:\n    pass\nexcept Exception as error:\n    raise ValueError from error",
        "try:\n    pass\nexcept* Exception:\n    pass",
    ],
}


def test_every_call_rule_is_tried() -> None:
    assert CALLS.keys() == call_rules.ROOMS.keys()


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, texts in CALLS.items() for text in texts])
def test_banned_calls(rule: call_rules.Rule, text: str) -> None:
    assert call_rules.outside_rooms(rule, source("protocol/x.py", text))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (call_rules.clocks, "import trio\ntrio.current_time()"),
        (call_rules.clocks, "def f(time):\n    return time.time()"),
        (call_rules.entropy, "from random import Random\ndef f(random: Random):\n    return random.random()"),
        (call_rules.entropy, "from random import Random\nRandom(7)"),
        (call_rules.broad_excepts, "try:\n    pass\nexcept BaseException:\n    x = 1\n    raise"),
        (call_rules.broad_excepts, "try:\n    pass\nexcept ValueError:\n    pass"),
    ],
)
def test_calls_that_are_fine(rule: call_rules.Rule, text: str) -> None:
    assert not list(rule(source("peer/x.py", text)))


@pytest.mark.parametrize(
    "text",
    [
        "seen = []",
        "SEEN: dict = {}\ndef f():\n    SEEN['a'] = 1",
        "SEEN = set()\ndef f():\n    SEEN.add(1)",
        "def f():\n    global counter\n    counter = 1",
        "import itertools\nNUMBERS = itertools.count()",
        "import trio\nlock = trio.Lock()",
        "import functools\n@functools.cache\ndef f(): ...",
        "COUNT = [0]\ndef f():\n    COUNT[0] += 1",
    ],
)
def test_module_state(text: str) -> None:
    assert list(shape_rules.module_state(source("peer/x.py", text)))


def test_constants_are_no_state() -> None:
    text = "TABLE = {'a': 1}\n__all__ = ['x']\nLIMIT = 3\ndef f():\n    seen = []\n    seen.append(TABLE['a'])"
    assert not list(shape_rules.module_state(source("peer/x.py", text)))


def test_long_functions() -> None:
    body = "    x = 1\n"
    assert list(shape_rules.long_functions(source("peer/x.py", "def f():\n" + body * 70)))
    assert not list(shape_rules.long_functions(source("peer/x.py", "def f():\n" + body * 69)))


def test_long_file() -> None:
    assert list(shape_rules.long_file(source("peer/x.py", "\n" * 401)))
    assert not list(shape_rules.long_file(source("peer/x.py", "\n" * 400)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = 1",
        '"""Owns x."""\ndef f(): ...',
        '"""Owns x."""\nclass A: ...',
        '"""Owns x."""\nclass A:\n    """Is a."""\n    def f(self): ...',
    ],
)
def test_missing_docstrings(text: str) -> None:
    assert list(shape_rules.missing_docstrings(source("peer/x.py", text)))


def test_private_names_need_no_docstring() -> None:
    text = '"""Owns x."""\ndef _f(): ...\nclass A:\n    """Is a."""\n    def __init__(self): ...\n    def _g(self): ...'
    assert not list(shape_rules.missing_docstrings(source("peer/x.py", text)))


def test_foreign_names() -> None:
    host = ".".join(("pypi", "org"))
    assert list(shape_rules.foreign_names("x.lock", f"a\n--index-url https://{host}/simple\n"))
    assert not list(shape_rules.foreign_names("x.lock", "fastapi==1.0\n"))
