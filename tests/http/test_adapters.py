"""Retrievers for the frameworks of others, driven by what those call."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Served

from api import Library, wire
from api.client import ClientError, ReelseekClient
from api.local import Local
from api.searchable import Searchable


@pytest.fixture(params=["served", "here"])
def source(shared: Served, request: pytest.FixtureRequest) -> Iterator[Searchable]:
    if request.param == "served":
        with ReelseekClient(shared.url) as client:
            yield client
    else:
        with Library.open("lib") as library:
            yield Local(library)


def test_langchain_is_given_moments(source: Searchable, shared: Served) -> None:
    pytest.importorskip("langchain_core", reason="langchain-core: the extra langchain is not installed")
    from langchain_core.runnables import RunnableLambda

    from api.adapters.langchain import ReelseekRetriever

    retriever = ReelseekRetriever(source=source, limit=2, min_confidence=0)
    documents = retriever.invoke("blue")
    expected = shared.found("blue", limit=2)["moments"]
    assert [one.id for one in documents] == [one["ref"] for one in expected]
    first = documents[0]
    assert Path(first.metadata["path"]).name == "first.mp4"
    assert {"ref", "path", "start_s", "end_s", "confidence"} <= set(first.metadata)
    assert (first.metadata["start_s"], first.metadata["end_s"]) == (2.0, 4.0)
    assert "written at 0:02.0: blue" in first.page_content
    assert asyncio.run(retriever.ainvoke("blue")) == documents
    assert retriever.batch(["blue", "red"])[0] == documents
    chain = retriever | RunnableLambda(lambda found: [one.metadata["ref"] for one in found])
    assert chain.invoke("blue") == [one.id for one in documents]
    narrow = ReelseekRetriever(source=source, min_confidence=0, by="video", filters=wire.Filters(kinds=["sound"]))
    assert {one.metadata["kind"] for one in narrow.invoke("blue")} == {"sound"}
    with pytest.raises(ValueError):
        ReelseekRetriever(source=source, limit=0)


def test_llamaindex_is_given_moments(source: Searchable, shared: Served) -> None:
    pytest.importorskip("llama_index.core", reason="llama-index-core: the extra llamaindex is not installed")
    from api.adapters.llamaindex import ReelseekRetriever

    retriever = ReelseekRetriever(source, limit=2, min_confidence=0)
    nodes = retriever.retrieve("blue")
    expected = shared.found("blue", limit=2)["moments"]
    assert [(one.node_id, one.score) for one in nodes] == [(one["ref"], one["confidence"]) for one in expected]
    assert "written at 0:02.0: blue" in nodes[0].text
    assert Path(nodes[0].metadata["path"]).name == "first.mp4"
    assert [one.node_id for one in asyncio.run(retriever.aretrieve("blue"))] == [one.node_id for one in nodes]


def test_what_is_refused_comes_through(shared: Served) -> None:
    pytest.importorskip("langchain_core", reason="langchain-core: the extra langchain is not installed")
    from api.adapters.langchain import ReelseekRetriever

    with ReelseekClient(shared.url) as client, pytest.raises(ClientError, match="at character 5"):
        ReelseekRetriever(source=client).invoke("red THEN")
