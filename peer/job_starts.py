"""How often this peer has died with a job and nothing came of it: a job that kills its peer must not do so for ever."""

from peer.journal import Journal
from protocol.ids import JobId

RESUMES_MAX = 3
"""Starts in a row in which the peer died while the job ran, and no result of it came; then it waits for its owner."""


class JobStarts:
    """Of all jobs in the journal. Every method raises `LocalError` when the journal fails."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def begin(self, job: JobId, *, afresh: bool) -> None:
        """The job starts or goes on now, in vain until it is seen otherwise; `afresh`: because its owner asked."""
        before = "0" if afresh else "CASE WHEN :stand > stood THEN 0 ELSE deaths END"
        with self._journal.transaction() as connection:
            connection.execute(
                f"UPDATE jobs SET deaths = 1 + {before}, stood = :stand WHERE id = :job",
                {"job": job, "stand": self._stand(job)},
            )

    def survived(self, job: JobId) -> None:
        """This peer stops in an orderly way: whatever the job does, it has not killed it."""
        with self._journal.transaction() as connection:
            connection.execute("UPDATE jobs SET deaths = 0 WHERE id = ?", (job,))

    def why_not(self, job: JobId) -> str | None:
        """Why the job does not go on by itself any more; None: it does."""
        ((deaths, stood),) = self._journal.read("SELECT deaths, stood FROM jobs WHERE id = ?", job)
        if deaths < RESUMES_MAX or self._stand(job) > stood:
            return None
        return (
            f"this peer died in {deaths} starts one after another while the job ran, and nothing of it was done: "
            f"if the job is not the reason, `peer job resume {job}` goes on with it"
        )

    def _stand(self, job: JobId) -> int:
        """Items that have a result and are not run again."""
        return len(self._journal.outcomes(job).keys() - self._journal.to_run_again(job))
