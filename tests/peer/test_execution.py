"""Chunks through a real sandbox: results, errors, output, seeds, and that the process stays warm."""

import os

import cbor2
import pytest
import trio
from execution_helpers import manifest, outcomes, run_all, run_one

from peer.execution.executor import SandboxedExecutor
from peer.execution.reference import measure_speed
from peer.seam import Execution, ExecutionFailure
from protocol import encoding
from protocol.arrays import TypedArray, encode_array
from protocol.errors import LocalError
from protocol.limits import CHUNK_RESULT_BYTES_MAX, LOG_BYTES_PER_CHUNK_MAX, MIB, TEXT_LENGTH_MAX, TRACEBACK_LENGTH_MAX


async def test_values_come_back_in_order(sandbox):
    assert await run_all(sandbox, "def run(item):\n    return item * 2", [3, "ab", 1.5]) == [6, "abab", 3.0]


async def test_result_is_canonical(sandbox):
    result = await run_one(sandbox, "def run(item):\n    return {'b': (1, 2.5), 'aa': None, 'a': b'x'}")
    expected = [[True, {"a": b"x", "b": [1, 2.5], "aa": None}]]
    assert isinstance(result, Execution)
    assert result.data == encoding.encode(expected)


@pytest.mark.parametrize("count", [0, 23, 24, 255, 256, 4096])
async def test_any_number_of_items(sandbox, count):
    async with sandbox.open_runner(manifest("def run(item):\n    return item")) as runner:
        result = await runner.run(encoding.encode(list(range(count))))
    assert isinstance(result, Execution)
    assert result.data == encoding.encode([[True, n] for n in range(count)])


async def test_numpy_is_data(sandbox):
    code = """
        import numpy as np
        def run(item):
            return [np.arange(6, dtype=np.int32).reshape(2, 3), np.float64(2.5), np.bool_(True), np.array([1.0], ">f8")]
    """
    [[grid, scalar, truth, swapped]] = await run_all(sandbox, code)
    assert isinstance(grid, TypedArray)
    assert (grid.dtype, grid.tolist()) == ("int32", [[0, 1, 2], [3, 4, 5]])
    assert (scalar, truth, swapped.tolist()) == (2.5, True, [1.0])


async def test_scikit_learn_works_inside(sandbox):
    code = """
        from sklearn.datasets import load_digits
        from sklearn.svm import SVC
        def run(item):
            data, target = load_digits(return_X_y=True)
            return SVC(gamma=item).fit(data[:300], target[:300]).score(data[300:600], target[300:600])
    """
    [score] = await run_all(sandbox, code, [0.001])
    assert 0.8 < score <= 1.0


async def test_error_tells_line_and_source_of_the_job(sandbox):
    code = """
        def run(item):
            return helper(item)

        def helper(item):
            return 1 / item
    """
    async with sandbox.open_runner(manifest(code)) as runner:
        good, bad = outcomes(await runner.run(encoding.encode([2, 0])), 2)
    assert good.ok
    assert good.value == 0.5
    assert (bad.ok, bad.error, bad.message) == (False, "ZeroDivisionError", "division by zero")
    assert 'File "job_file.py", line 6, in helper\n    return 1 / item' in bad.traceback
    assert "runner_job.py" not in bad.traceback


async def test_causes_are_shown(sandbox):
    code = """
        def run(item):
            try:
                {}["missing"]
            except KeyError as error:
                raise RuntimeError("no luck") from error
    """
    [bad] = outcomes(await run_one(sandbox, code), 1)
    assert "KeyError: 'missing'" in bad.traceback
    assert bad.traceback.endswith("RuntimeError: no luck\n")
    assert "runner_job.py" not in bad.traceback


async def test_endless_messages_are_cut(sandbox):
    [bad] = outcomes(await run_one(sandbox, "def run(item):\n    raise ValueError('ä' * 100_000 + '\\ud800')"), 1)
    assert len(bad.message) <= TEXT_LENGTH_MAX
    assert len(bad.traceback) <= TRACEBACK_LENGTH_MAX
    assert bad.message.endswith("\\ud800")
    assert "[... cut ...]" in bad.message


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("raise SystemExit(3)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise Rude", "Rude"),
        ("run(item)", "RecursionError"),
    ],
)
async def test_every_exception_is_an_outcome(sandbox, statement, error):
    code = f"""
        class Rude(BaseException):
            def __str__(self):
                raise SystemExit("not even this")

        def run(item):
            {statement}
    """
    async with sandbox.open_runner(manifest(code)) as runner:
        for _ in range(2):
            [bad] = outcomes(await runner.run(encoding.encode([1])), 1)
            assert (bad.ok, bad.error) == (False, error)


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        ("import no_such_package", "ModuleNotFoundError", "No module named 'no_such_package'"),
        ("x = 1", "AttributeError", "job_file.py defines no function 'run'; define `def run(item):` in it"),
        ("run = 3", "AttributeError", "job_file.py has a 'run' that is not a function"),
        ("def run(item)\n    pass", "SyntaxError", "expected ':'"),
        ("raise SystemExit('no')", "SystemExit", "no"),
        ("if __name__ == '__main__':\n    run = print", "AttributeError", "defines no function 'run'"),
    ],
)
async def test_job_file_that_cannot_be_loaded_fails_every_item(sandbox, code, error, message):
    async with sandbox.open_runner(manifest(code)) as runner:
        for one in outcomes(await runner.run(encoding.encode([1, 2])), 2):
            assert (one.ok, one.error) == (False, error)
            assert message in one.message


async def test_entry_can_have_another_name(sandbox):
    assert await run_all(sandbox, "def work(item):\n    return item + 1", [1], entry="work") == [2]


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("{1, 2}", "result is of type set, which is not data; return sorted(...) of it"),
        ("{'a': [1, object()]}", "result['a'][1] is of type object, which is not data"),
        ("1j", "result is of type complex"),
        ("(n for n in [1])", "result is of type generator, which is not data; return a list"),
        ("__import__('datetime').datetime(2020, 1, 1)", "result is of type datetime.datetime"),
        ("{(1, 2): 3}", "a key of result is of type tuple; keys must be text or whole numbers"),
        ("__import__('numpy').array([None])", "result is an array of object"),
        ("[__import__('decimal').Decimal(1)]", "result[0] is of type decimal.Decimal"),
        ("'\\ud800'", "text in the result cannot be written as UTF-8"),
        ("endless()", "nested deeper than"),
        ("coroutine()", "result is of type coroutine, which is not data"),
    ],
)
async def test_what_is_not_data_is_named_with_its_place(sandbox, expression, told):
    code = f"""
        import warnings
        def endless():
            found = []
            found.append(found)
            return found
        async def coroutine():
            pass
        def run(item):
            return {expression}
    """
    [bad] = outcomes(await run_one(sandbox, code), 1)
    assert (bad.ok, bad.error) == (False, "TypeError")
    assert told in bad.message


async def test_output_is_kept_in_order(sandbox):
    code = """
        import subprocess, sys
        print("loaded")
        def run(item):
            print("out", item)
            print("err", item, file=sys.stderr)
            subprocess.run(["/bin/echo", "child"], check=True)
            return item
    """
    async with sandbox.open_runner(manifest(code)) as runner:
        first = await runner.run(encoding.encode([1]))
        second = await runner.run(encoding.encode([2]))
    assert first.log == b"loaded\nout 1\nerr 1\nchild\n"
    assert second.log == b"out 2\nerr 2\nchild\n"


async def test_too_much_output_is_left_out(sandbox):
    result = await run_one(sandbox, "def run(item):\n    print('y' * 3_000_000)\n    return 1")
    assert outcomes(result, 1)[0].value == 1
    assert len(result.log) <= LOG_BYTES_PER_CHUNK_MAX
    assert result.log.endswith(b" bytes of output left out]\n")


async def test_closing_the_standard_streams_harms_nothing(sandbox):
    code = """
        import os, sys
        def run(item):
            sys.stdout.close()
            sys.stderr = None
            os.close(1)
            os.close(2)
            return item
    """
    assert await run_all(sandbox, code, [1]) == [1]


async def test_process_stays_warm(sandbox):
    code = """
        import os
        seen = []
        def run(item):
            seen.append(item)
            return [os.getpid(), len(seen)]
    """
    async with sandbox.open_runner(manifest(code)) as runner:
        [first] = outcomes(await runner.run(encoding.encode([1])), 1)
        [second] = outcomes(await runner.run(encoding.encode([1])), 1)
    assert first.value[0] == second.value[0]
    assert (first.value[1], second.value[1]) == (1, 2)


SEEDED = {
    "module level": "import random\ndef run(item):\n    return [random.random(), random.randrange(10**9)]",
    "in the function": "def run(item):\n    import random\n    return random.random()",
    "numpy": "import numpy as np\ndef run(item):\n    return np.random.rand()",
    "numpy in the function": "def run(item):\n    import numpy as np\n    return np.random.rand()",
}


@pytest.mark.parametrize("code", SEEDED.values(), ids=SEEDED.keys())
async def test_random_numbers_depend_on_job_and_item_alone(sandbox, code):
    first = await run_all(sandbox, code, [1, 2, 3])
    assert len({str(value) for value in first}) == 3
    assert await run_all(sandbox, code, [3, 1, 2]) == [first[2], first[0], first[1]]
    assert await run_all(sandbox, code, [1, 2, 3], job="job-2") != first


async def test_hashes_are_the_same_everywhere(sandbox):
    code = "def run(item):\n    return [hash('a'), list({'a', 'b', 'c', 'd'})]"
    assert await run_all(sandbox, code) == await run_all(sandbox, code)


async def test_large_chunk_and_large_result(sandbox):
    item = "x" * (3 * MIB)
    [value] = await run_all(sandbox, "def run(item):\n    return item * 5", [item])
    assert value == item * 5


async def test_result_over_the_limit_names_the_item(sandbox):
    code = f"def run(item):\n    return bytes({CHUNK_RESULT_BYTES_MAX} // 3)"
    async with sandbox.open_runner(manifest(code)) as runner:
        failure = await runner.run(encoding.encode([0, 1, 2, 3]))
        assert isinstance(failure, ExecutionFailure)
        assert (failure.kind.name, failure.item) == ("TOO_LARGE", 2)
        assert len(outcomes(await runner.run(encoding.encode([0])), 1)) == 1


async def test_sandbox_works_from_any_folder(sandbox, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    executor = SandboxedExecutor()
    assert await run_all(executor, "import os\ndef run(item):\n    return os.getcwd()") == ["/tmp"]


async def test_wrong_use_is_said(sandbox):
    with pytest.raises(LocalError, match="'cobol' is not offered here"):
        async with sandbox.open_runner(manifest("", runtime="cobol")):
            pass


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        encoding.encode({"not": "a list"}),
        b"\x82\x01",
        b"\x81\x01\x01",
        b"\x81\xc0\x60",
        bytes([0x9A]),
        b"\x80" * 5_000_000,
    ],
)
async def test_input_that_is_no_list_of_items_is_refused(sandbox, payload):
    async with sandbox.open_runner(manifest("def run(item):\n    return 1")) as runner:
        failure = await runner.run(payload)
        assert isinstance(failure, ExecutionFailure)
        assert "the input of" in failure.detail
        assert outcomes(await runner.run(encoding.encode([1])), 1)[0].value == 1


async def test_arrays_come_in_as_numpy_arrays(sandbox):
    numpy = pytest.importorskip("numpy")
    code = """
        import random
        def run(item):
            item["a"] += 1
            return [type(item["a"]).__name__, item["a"]]
    """
    payload = cbor2.dumps([{"a": numpy.arange(4.0).reshape(2, 2)}], canonical=True, default=encode_array)
    async with sandbox.open_runner(manifest(code)) as runner:
        [found] = outcomes(await runner.run(payload), 1)
    assert found.value[0] == "ndarray"
    assert found.value[1].tolist() == [[1.0, 2.0], [3.0, 4.0]]


async def test_one_chunk_at_a_time(sandbox):
    code = manifest("import time\ndef run(item):\n    time.sleep(item)")
    async with sandbox.open_runner(code) as runner, trio.open_nursery() as inner:
        inner.start_soon(runner.run, encoding.encode([0.3]))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(LocalError, match="one chunk at a time"):
            await runner.run(encoding.encode([0]))


def test_offer_and_environment(sandbox):
    offer = sandbox.offers()[0]
    assert (offer.name, offer.sandbox) == ("python", "bubblewrap")
    assert sandbox.environment("python") == SandboxedExecutor().environment("python")
    assert len(sandbox.environment("python")) == 32
    with pytest.raises(LocalError):
        sandbox.environment("cobol")


async def test_speed_is_a_positive_number(sandbox):
    assert 0.001 < await measure_speed(sandbox) < 1000


async def test_environment_inside_is_the_least(sandbox, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_HOST", "swordfish")
    [found] = await run_all(sandbox, "import os\ndef run(item):\n    return dict(os.environ)")
    assert "SECRET_OF_THE_HOST" not in found
    assert set(found) <= {
        "HOME", "LANG", "PATH", "PWD", "PYTHONHASHSEED", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "LD_LIBRARY_PATH", "LC_CTYPE",
    }  # fmt: skip
    assert (found["OMP_NUM_THREADS"], found["OMP_WAIT_POLICY"], found["PYTHONHASHSEED"]) == ("1", "PASSIVE", "0")
    assert os.environ["HOME"] != found["HOME"] == "/tmp"
