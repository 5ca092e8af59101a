"""Fraud proofs as files: those that this peer made, and reading any of them."""

from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from protocol.errors import LocalError, RemoteError
from protocol.fraud_proof import PROOF_BYTES_MAX, FraudProof, decode_proof
from protocol.ids import digest, short

PROOFS_KEPT_MAX = 1000
SUFFIX = ".proof"


class ProofStore:
    """A folder of proofs, or this process's memory where nothing may be written."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._memory: OrderedDict[str, bytes] = OrderedDict()

    def add(self, proof: FraudProof) -> str:
        """Keep a proof, the oldest go first; where it is. Raises `LocalError`."""
        data = proof.encode()
        name = f"{short(proof.commitment.signer)}-{digest(data).hex()[:16]}{SUFFIX}"
        if self._folder is None:
            self._memory[name] = data
            if len(self._memory) > PROOFS_KEPT_MAX:
                self._memory.popitem(last=False)
            return name
        return str(self._write(self._folder, name, data))

    def paths(self) -> list[Path]:
        """The files, the newest first."""
        if self._folder is None or not self._folder.is_dir():
            return []
        return sorted(self._folder.glob(f"*{SUFFIX}"), key=lambda path: (-path.stat().st_mtime_ns, path.name))

    def recent(self, count: int) -> list[bytes]:
        """The newest so many, encoded; files that cannot be read are left out."""
        if self._folder is None:
            return list(reversed(self._memory.values()))[:count]
        found = []
        for path in self.paths()[:count]:
            with suppress(LocalError):
                found.append(read_proof(path).encode())
        return found

    def _write(self, folder: Path, name: str, data: bytes) -> Path:
        path = folder / name
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            new = path.with_suffix(".new")
            new.write_bytes(data)
            new.replace(path)
            for old in self.paths()[PROOFS_KEPT_MAX:]:
                old.unlink(missing_ok=True)
        except OSError as error:
            raise LocalError(
                f"the proof against {name.split('-', maxsplit=1)[0]} is lost: {path}: {error.strerror}"
            ) from error
        return path


def read_proof(path: Path) -> FraudProof:
    """The proof in a file; raises `LocalError` that says what is wrong with the file."""
    try:
        with path.open("rb") as file:
            data = file.read(PROOF_BYTES_MAX + 1)
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}") from error
    try:
        return decode_proof(data)
    except RemoteError as error:
        raise LocalError(f"{path}: {error}") from error
