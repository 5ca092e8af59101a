"""The command runtime in the sandbox: arguments filled in, files in and out, failures as the item's error."""

import json
from contextlib import asynccontextmanager

import pytest
import trio
from blob_helpers import described
from blob_town import Holder, town

from peer.execution.executor import SandboxedExecutor
from peer.job_blobs import JobBlobs
from peer.runtimes.command import CommandRuntime
from peer.runtimes.inside.arguments import filled, names
from peer.seam import Execution
from protocol import encoding
from protocol.blobs import BlobId
from protocol.bodies import Manifest
from protocol.errors import LocalError
from protocol.files import FileRef
from protocol.ids import JobId
from protocol.outcomes import Outcome, decode_outcomes

TEXT = b"one line\nand another\n"


@asynccontextmanager
async def running(tmp_path, *argv: str):
    with trio.fail_after(60):
        async with town(tmp_path) as t:
            t.holder("coordinator", Holder(TEXT))
            worker = await t.peer("worker")
            executor = SandboxedExecutor([CommandRuntime((argv[0],))])
            executor.blobs = JobBlobs(worker)
            code = json.dumps({"argv": argv}).encode()
            manifest = Manifest(
                job=JobId("j"), runtime=f"command:{argv[0]}", code=code, blob_holder=t.id("coordinator")
            )
            async with executor.open_runner(manifest) as runner:

                async def run(item: object) -> Outcome:
                    ran = await runner.run(encoding.encode([item]))
                    assert isinstance(ran, Execution), ran
                    return decode_outcomes(ran.data, 1)[0]

                yield run, worker.store


FILE = FileRef(name="a text.txt", blob=described(TEXT)[0].id, size_bytes=len(TEXT)).plain()


async def test_a_file_goes_through_a_program(tmp_path) -> None:
    async with running(tmp_path, "cp", "{input}", "{output}.copy") as (run, store):
        for stem in ("first", "second"):
            outcome = await run({"input": FILE, "output": stem})
            assert outcome.ok, outcome
            given = outcome.value["$file"]
            assert given["name"] == f"{stem}.copy"
            assert store.find(BlobId(given["blob"])).path.read_bytes() == TEXT


async def test_without_output_the_result_is_what_is_printed(tmp_path) -> None:
    async with running(tmp_path, "wc", "-l", "{input}") as (run, _):
        outcome = await run({"input": FILE})
        assert outcome.value == "2 /inputs/0/a text.txt\n"


async def test_several_files_come_in_the_order_of_their_names(tmp_path) -> None:
    async with running(tmp_path, "split", "-l", "1", "{input}", "{output}-") as (run, _):
        outcome = await run({"input": FILE, "output": "part"})
        assert [one["$file"]["name"] for one in outcome.value] == ["part-aa", "part-ab"]


@pytest.mark.parametrize(
    ("argv", "story"),
    [
        (("ls", "/nowhere"), "ls ended with status 2: ls: cannot access '/nowhere'"),
        (("true", "{output}"), "true wrote no file at {output}"),
        (("head", "-c", "5000000", "/dev/zero"), "printed more than 4194304 bytes"),
    ],
)
async def test_what_goes_wrong_is_the_items_error(tmp_path, argv: tuple[str, ...], story: str) -> None:
    async with running(tmp_path, *argv) as (run, _):
        outcome = await run({"input": FILE, "output": "x"})
        assert not outcome.ok and story in outcome.message, outcome


def test_only_programs_that_are_here_are_offered() -> None:
    found = CommandRuntime(("ls", "no-such-program")).probe().versions
    assert list(found) == ["command:ls"] and found["command:ls"][0].isdigit()
    none = CommandRuntime(("no-such-program",)).probe()
    assert not none.versions and "none of no-such-program" in none.problem and "--programs" in none.fix


async def test_a_program_that_is_not_offered_is_refused() -> None:
    executor = SandboxedExecutor([CommandRuntime(("ls",))])
    with pytest.raises(LocalError, match="'command:rm' is not offered here: there is command:ls"):
        async with executor.open_runner(Manifest(job=JobId("j"), runtime="command:rm", code=b"")):
            raise AssertionError("opened")


def test_arguments_are_filled_in() -> None:
    assert names("-i={input} {{literal}} {x}") == {"input", "x"}
    assert filled("{a}-{{b}}-{a}", {"a": 1}) == "1-{b}-1"
