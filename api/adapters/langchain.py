"""A retriever of LangChain whose documents are moments.

from api.adapters.langchain import ReelseekRetriever
from api.client import ReelseekClient

with ReelseekClient("http://127.0.0.1:8000") as client:
    retriever = ReelseekRetriever(source=client, limit=4)
    for document in retriever.invoke("a parrot"):
        print(document.page_content, document.metadata["path"], document.metadata["start_s"])
"""

from typing import Literal

from pydantic import Field, SkipValidation

from api import wire
from api.adapters._moments import metadata
from api.searchable import Searchable
from api.telling import words
from retriever.errors import MissingExtra

try:
    from langchain_core.callbacks import CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
except ModuleNotFoundError as error:
    library = (error.name or "").partition(".")[0]
    raise MissingExtra(f"this needs {library}: pip install 'reelseek[langchain]'") from error


class ReelseekRetriever(BaseRetriever):
    """`source` is a `ReelseekClient`, or a `Local` over a library of this machine.

    Texts are what is said, written, seen and heard, in words;
    metadata has `ref`, `path`, `start_s`, `end_s` and `confidence`.
    """

    source: SkipValidation[Searchable] = Field(exclude=True, repr=False)
    limit: int = Field(default=5, ge=1, le=wire.MOST)
    min_confidence: float | None = Field(default=None, ge=0, le=1)
    by: Literal["moment", "video"] | None = None
    filters: wire.Filters | None = None

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        answer = self.source.search(
            query, by=self.by, limit=self.limit, min_confidence=self.min_confidence, filters=self.filters
        )
        return [Document(words(one), id=one.ref, metadata=metadata(one)) for one in answer.moments]
