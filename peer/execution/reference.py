"""The reference benchmark: how fast is one slot of this machine, compared with a fixed one?

A reference-second, the unit of prices and credits, is a second of a slot with speed 1.0: the machine on
which this code took `REFERENCE_S` (one core of an AMD EPYC with AVX2, CPython 3.11). It runs in the
sandbox, as jobs do, three times in a row, and the best counts: an interruption makes a machine look
slow, nothing makes it look fast. The mixture is interpreter, big integers, hashing and memory, without a
package that a worker may lack. Coordinators correct it by what they see (DESIGN section 6).
"""

from peer.runtimes.python import PYTHON_RUNTIME
from peer.seam import Execution, Executor
from protocol import encoding
from protocol.bodies import Manifest
from protocol.errors import LocalError
from protocol.ids import JobId
from protocol.limits import MIB

REFERENCE_S = 0.033
_REPEATS = 3
_TIMEOUT_S = 60.0
_CODE = b"""\
import hashlib

def run(item):
    total, words = item, {}
    for n in range(120_000):
        total = (total * 31 + n) % 1_000_003
        words[total % 997] = n
    power = pow(3, 20_011 + item, 2**2203 - 1)
    hashed = hashlib.sha256(bytes(4_000_000)).digest()
    ordered = sorted((n * 7919 + item) % 60_013 for n in range(40_000))
    return [total, len(words), power % 997, hashed, ordered[1]]
"""


async def measure_speed(executor: Executor) -> float:
    """Speed of one slot relative to the reference, larger is faster. Takes about 0.2 s.

    Raises `LocalError` when the benchmark cannot be run here.
    """
    manifest = Manifest(
        job=JobId("reference"),
        runtime=PYTHON_RUNTIME,
        code=_CODE,
        name="reference.py",
        item_timeout_s=_TIMEOUT_S,
        memory_bytes_max=256 * MIB,
    )
    times_s = []
    async with executor.open_runner(manifest) as runner:
        for repeat in range(_REPEATS):
            result = await runner.run(encoding.encode([repeat]))
            if not isinstance(result, Execution):
                raise LocalError(f"the reference benchmark failed: {result.kind.value}: {result.detail}")
            times_s.append(result.compute_s)
    return REFERENCE_S / min(times_s)
