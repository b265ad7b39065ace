"""What training makes small."""

import math

from torch import Tensor
from torch.nn import functional


def contrastive(scores: Tensor, skip: Tensor, temperature: Tensor) -> Tensor:
    """Symmetric InfoNCE (X-Pool, eq. 7 and 8) of `scores` `(B, C)`: the mean of text-to-video cross-entropy over all C
    items and of video-to-text over the first B, whose captions these are.  Column i is row i's own; pairs named by
    `skip` `(B, C)` are no negatives and have no part in it."""
    count = len(scores)
    logits = (scores * temperature).masked_fill(skip, -math.inf)
    own = logits[:, :count].diagonal()
    by_text, by_video = logits.logsumexp(1), logits[:, :count].logsumexp(0)
    return ((by_text - own).mean() + (by_video - own).mean()) / 2


def listwise(student: Tensor, teacher: Tensor, student_scale: float, teacher_scale: float) -> Tensor:
    """KL(softmax(teacher) ‖ softmax(student)) over candidates `(Q, K)`, the mean over texts: the order of the teacher's
    scores counts, not their calibration (Liu et al. 2022, Trans-Encoder, with a list in place of a pair).  A score of
    -inf on both sides is no candidate."""
    wanted = (teacher * teacher_scale).softmax(1)
    given = (student * student_scale).log_softmax(1)
    given = given.masked_fill(wanted == 0, 0.0)
    return functional.kl_div(given, wanted, reduction="batchmean")
