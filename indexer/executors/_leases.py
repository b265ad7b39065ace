"""The jobs of a plan that are to be carried out here."""

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
        if holder is None:
            run.under_way.pop(job.key, None)
            run.leave(job.id(run.recipe))
            run.hand_over(job)
        else:
            run.leave_to(holder, job, "is being indexed")
    return None
