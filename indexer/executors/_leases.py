"""The jobs of a plan that are to be carried out here."""

from collections.abc import Iterator, Sequence

from indexer.events import Warned
from indexer.plan import Job
from indexer.run import Run


def leased(jobs: Sequence[Job], run: Run) -> Iterator[Job]:
    """The jobs that nobody else is at, or has done since they were planned; each is leased when it is asked for.

    Raises:
        DiskFull: less than the policy wants to stay free.
    """
    for job in jobs:
        holder = run.take(job)
        if holder is None and run.done(job):
            run.leave(job.id(run.recipe))
        elif holder is None:
            run.room(job)
            yield job
        else:
            run.left.append(job.path)
            run.watch(Warned(f"{job.path} is being indexed by {holder}; left to it"))
