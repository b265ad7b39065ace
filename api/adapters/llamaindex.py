"""A retriever of LlamaIndex whose nodes are moments.

from api.adapters.llamaindex import ReelseekRetriever
from api.client import ReelseekClient

with ReelseekClient("http://127.0.0.1:8000") as client:
    retriever = ReelseekRetriever(client, limit=4)
    for found in retriever.retrieve("a parrot"):
        print(found.score, found.text, found.metadata["path"], found.metadata["start_s"])
"""

import asyncio
from typing import Literal

from api import wire
from api.adapters._moments import metadata
from api.searchable import Searchable
from api.telling import words
from retriever.errors import MissingExtra

try:
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
except ModuleNotFoundError as error:
    library = (error.name or "").partition(".")[0]
    raise MissingExtra(f"this needs {library}: pip install 'reelseek[llamaindex]'") from error


class ReelseekRetriever(BaseRetriever):
    """`source` is a `ReelseekClient`, or a `Local` over a library of this machine.

    Texts are what is said, written, seen and heard, in words; the score is the confidence;
    metadata has `ref`, `path`, `start_s`, `end_s` and `confidence`.
    """

    def __init__(
        self,
        source: Searchable,
        *,
        limit: int = 5,
        min_confidence: float | None = None,
        by: Literal["moment", "video"] | None = None,
        filters: wire.Filters | None = None,
    ) -> None:
        super().__init__()
        self._source, self._limit, self._min_confidence = source, limit, min_confidence
        self._by, self._filters = by, filters

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        answer = self._source.search(
            query_bundle.query_str,
            by=self._by,
            limit=self._limit,
            min_confidence=self._min_confidence,
            filters=self._filters,
        )
        return [
            NodeWithScore(node=TextNode(id_=one.ref, text=words(one), metadata=metadata(one)), score=one.confidence)
            for one in answer.moments
        ]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)
