"""`peer submit python`: a job file, and one item for each line of the inputs."""

from pathlib import Path

from cli.exits import WrongUse
from cli.inputs import check_has_verify, read_items, read_job_file
from cli.item_files import check_files, with_blobs
from cli.job_request import RequestForm
from cli.submit import Prepared
from cli.submit_options import JobOptions


def python_job(job_file: Path, inputs: Path, options: JobOptions) -> Prepared:
    """Everything is read and checked; raises `WrongUse`."""
    form = RequestForm("python", options, name=job_file.stem, compare="exact")
    code, items = read_job_file(job_file), read_items(inputs)
    if form.compare == "verify":
        check_has_verify(job_file, code)
    try:
        check_files(items, inputs.parent)
    except WrongUse as error:
        raise WrongUse(f"{inputs}: {error}") from error
    return Prepared(
        options=options, request=lambda client: form.request(client, code, with_blobs(client, items, inputs.parent))
    )
