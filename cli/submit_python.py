"""`peer submit python`: a job file, and one item for each line of the inputs."""

from pathlib import Path

from cli.exits import WrongUse
from cli.inputs import check_has_verify, read_items, read_job_file
from cli.item_files import check_files, with_blobs
from cli.job_request import RequestForm
from cli.requirements import pinned_requirements
from cli.submit import Prepared
from cli.submit_options import JobOptions
from peer.control_client import ControlClient
from peer.views import JobRequest


def python_job(job_file: Path, inputs: Path, requirements: Path | None, options: JobOptions) -> Prepared:
    """Everything is read and checked, and the versions of packages are found; raises `WrongUse`."""
    code, items = read_job_file(job_file), read_items(inputs)
    packages = pinned_requirements(requirements, job_file, code)
    runtime = "python-env" if packages else "python"
    form = RequestForm(runtime, options, name=job_file.stem, compare="exact")
    if form.compare == "verify":
        check_has_verify(job_file, code)
    try:
        check_files(items, inputs.parent)
    except WrongUse as error:
        raise WrongUse(f"{inputs}: {error}") from error

    def request(client: ControlClient) -> JobRequest:
        return form.request(client, code, with_blobs(client, items, inputs.parent), requirements=packages)

    return Prepared(options=options, request=request)
