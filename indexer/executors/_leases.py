"""The jobs of a plan that are to be carried out here."""

from indexer import places
from indexer.events import Warned
from indexer.plan import Job, Work
from indexer.run import Run


def leased(work: Work, run: Run, wait: float = 0.0) -> Job | None:
    """The next job that nobody else is at, or has done since it was planned, leased; None: none is known, not even
    after `wait` seconds.

    Raises:
        DiskFull: less than the policy wants to stay free.
    """
    while job := work.take(wait):
        holder = run.take(job)
        if holder is None and not run.done(job):
            run.room(job)
            return job
        run.under_way.pop(job.key, None)
        if holder is None:
            run.leave(job.id(run.recipe))
            run.hand_over(job)
        else:
            run.left += map(places.of, job.paths)
            run.watch(Warned(f"{job.path} is being indexed by {holder}; left to it"))
    return None
