"""What the first stage searches: of each segment its mean, and the few tokens that the mean hides best.

The tokens are picked by farthest-point traversal (Gonzalez 1985): each pick is the token least like everything kept so
far, beginning with the mean.  So two picks cover two shots, and a rare moment inside a long segment keeps a row.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from retriever.types import Floats, Matrix, Segment, SegmentVectors, Tokens

SAME = 0.999  # cosine from which on a row says nothing that a kept row does not say already
EQUAL = 1e-5  # two cosines as near as this differ by rounding only
NO_DIRECTION = 1e-6  # a mean shorter than this is rounding: its tokens cancel out


def segment_vectors(tokens: Tokens, segments: Sequence[Segment], most: int) -> SegmentVectors:
    """The mean of each segment and at most `most` of its tokens, `(M, D)` rows of length one.

    A token belongs to the segment that its middle lies in.  A segment without tokens has no row.  Segments are in
    order of time and do not overlap.  Equally good picks: the earlier token.
    """
    if most < 0:
        raise ValueError(f"most must be 0 or more, got {most}")
    middles = tokens.spans.mean(axis=1)  # (N,)
    starts = np.array([segment.span.start for segment in segments])
    ends = np.array([segment.span.end for segment in segments])
    owner = np.searchsorted(starts, middles, side="right") - 1  # (N,) -1: before the first segment
    inside = owner >= 0
    inside[inside] = middles[inside] < ends[owner[inside]]
    order = np.flatnonzero(inside)
    order = order[np.argsort(owner[order], kind="stable")]  # token numbers, segment by segment
    edges = np.searchsorted(owner[order], np.arange(len(segments) + 1))
    kept = [_kept(tokens.rows[order[first:last]], most) for first, last in pairwise(edges)]
    dimension = tokens.rows.shape[1]
    return SegmentVectors(
        np.concatenate([np.zeros((0, dimension), np.float32), *kept]),
        np.repeat(np.arange(len(segments), dtype=np.int32), [len(rows) for rows in kept]),
    )


def _kept(rows: Matrix, most: int) -> Matrix:
    """The rows of one segment `(n, D)` that stay: `(k, D)`, k ≤ most + 1."""
    kept: list[Floats] = []
    if len(rows):
        mean = rows.mean(axis=0)
        length = float(np.linalg.norm(mean))
        if length > NO_DIRECTION:
            kept.append(mean / length)
    nearest = rows @ kept[0] if kept else np.full(len(rows), -1.0, np.float32)  # (n,) cosine to the closest kept row
    for _ in range(min(most, len(rows))):
        pick = int(np.argmax(nearest <= nearest.min() + EQUAL))
        if nearest[pick] > SAME:
            break
        kept.append(rows[pick])
        nearest = np.maximum(nearest, rows @ rows[pick])
    return np.array(kept, np.float32).reshape(-1, rows.shape[1])
