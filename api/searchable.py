"""What language models and their frameworks ask: a served library and one of this machine alike."""

from collections.abc import Sequence
from typing import Literal, Protocol

from api import wire


class Searchable(Protocol):
    """`api.client.ReelseekClient` and `api.local.Local` are such.  Several threads may ask.

    Raises:
        ReelseekError: of either kind, on one line.
    """

    def search(
        self,
        query: str,
        *,
        by: Literal["moment", "video"] | None = None,
        limit: int | None = None,
        min_confidence: float | None = None,
        filters: wire.Filters | None = None,
    ) -> wire.Answer: ...

    def similar(self, ref: str, *, limit: int | None = None, min_confidence: float | None = None) -> wire.Answer: ...

    def media(
        self,
        *,
        limit: int | None = None,
        page: str | None = None,
        tags: Sequence[str] = (),
        collection: str = "",
        path: str = "",
        kinds: Sequence[Literal["video", "sound", "image"]] = (),
    ) -> wire.MediaList: ...

    def transcript(self, id: str) -> str: ...

    def written(self, id: str) -> str: ...

    def jobs(self) -> list[wire.Job]: ...
