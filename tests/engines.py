"""The engine of a Qdrant server, without a server: its own core as a package, asked as the client's engine is.

So scores, halves, filters, indexes and vacuuming are those of a real server; what spreads and copies is not here.
"""

import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import qdrant_edge as edge
from qdrant_client.http import models

DONE = models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)


class Engine:
    """As much of `QdrantClient` as a library asks, a shard a collection."""

    def __init__(self, optimising: bool = False) -> None:
        """With `optimising` every change is followed by what a server does in its own time: graphs, also over few
        points, and the removal of deleted ones."""
        self._folder = Path(tempfile.mkdtemp(prefix="engine-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")))  # it syncs
        self._shards: dict[str, edge.EdgeShard] = {}
        self._made: dict[str, Any] = {}
        self._count = 0
        self._lock = threading.RLock()
        self._optimising = optimising

    def close(self) -> None:
        for name in list(self._shards):
            self.delete_collection(name)
        shutil.rmtree(self._folder, ignore_errors=True)

    def info(self) -> Any:
        return SimpleNamespace(version="1.20.0")

    # ----------------------------------------------------------------------------------------------------- collections

    def get_collections(self) -> Any:
        return models.CollectionsResponse(
            collections=[models.CollectionDescription(name=name) for name in sorted(self._shards)]
        )

    def collection_exists(self, name: str) -> bool:
        return name in self._shards

    def create_collection(self, name: str, vectors_config: Any, **kwargs: Any) -> bool:
        with self._lock:
            if name in self._shards:
                raise ValueError(f"Collection {name} already exists")
            params = {key: _params(each) for key, each in (vectors_config or {}).items()}
            # A shard wants a vector; the collection that says whose points they are has none.
            params = params or edge.EdgeVectorParams(1, edge.Distance.Dot)
            config = edge.EdgeConfig(params, **(_soon() if self._optimising else {}))
            self._count += 1
            self._shards[name] = edge.EdgeShard.create(str(self._folder / str(self._count)), config)
            self._made[name] = vectors_config or {}
        return True

    def delete_collection(self, name: str) -> bool:
        with self._lock:
            if shard := self._shards.pop(name, None):
                shard.close()
        return True

    def get_collection(self, name: str) -> Any:
        self._shard(name)
        made = models.CollectionParams(vectors=self._made[name])
        return models.CollectionInfo(
            status=models.CollectionStatus.GREEN,
            optimizer_status=models.OptimizersStatusOneOf.OK,
            segments_count=1,
            payload_schema={},
            config=models.CollectionConfig(
                params=made,
                hnsw_config=models.HnswConfig(m=16, ef_construct=100, full_scan_threshold=10_000),
                optimizer_config=models.OptimizersConfig(
                    deleted_threshold=0.2,
                    vacuum_min_vector_number=1000,
                    default_segment_number=0,
                    flush_interval_sec=5,
                ),
            ),
        )

    def create_payload_index(self, name: str, field_name: str, field_schema: Any) -> Any:
        schema = edge.IntegerIndexParams(lookup=field_schema.lookup, range=field_schema.range)
        self._shard(name).update(edge.UpdateOperation.create_field_index(field_name, schema))
        return DONE

    def _shard(self, name: str) -> "edge.EdgeShard":
        if name not in self._shards:
            raise ValueError(f"Collection {name} not found")
        return self._shards[name]

    # ---------------------------------------------------------------------------------------------------------- points

    def upsert(self, name: str, points: Sequence[Any], **kwargs: Any) -> Any:
        made = [edge.Point(each.id, each.vector or {}, each.payload) for each in points]
        self._update(name, edge.UpdateOperation.upsert_points(made))
        return DONE

    def batch_update_points(self, name: str, update_operations: Sequence[Any], **kwargs: Any) -> list[Any]:
        for each in update_operations:
            if isinstance(each, models.DeleteOperation):
                self._update(name, edge.UpdateOperation.delete_points_by_filter(_filter(each.delete.filter)))
            else:
                wanted = each.set_payload
                step = edge.UpdateOperation.set_payload_by_filter(_filter(wanted.filter), wanted.payload)
                self._update(name, step)
        return [DONE for _ in update_operations]

    def _update(self, name: str, step: Any) -> None:
        with self._lock:
            shard = self._shard(name)
            shard.update(step)
            if self._optimising:
                shard.optimize()

    def retrieve(self, name: str, ids: Sequence[Any], with_payload: Any = True, with_vectors: Any = False) -> list[Any]:
        found = self._shard(name).retrieve(list(ids), with_payload, with_vectors)
        return [models.Record(id=each.id, payload=each.payload, vector=each.vector or None) for each in found]

    def scroll(self, name: str, limit: int = 10, with_vectors: Any = False) -> tuple[list[Any], None]:
        found, _ = self._shard(name).scroll(edge.ScrollRequest(limit=limit, with_payload=True))
        return [models.Record(id=each.id, payload=each.payload) for each in found], None

    def count(self, name: str, count_filter: Any = None, exact: bool = True) -> Any:
        wanted = edge.CountRequest(exact, _filter(count_filter) if count_filter else None)
        return models.CountResult(count=self._shard(name).count(wanted))

    def query_batch_points(self, name: str, requests: Sequence[Any]) -> list[Any]:
        asked = [
            edge.QueryRequest(
                limit=each.limit,
                query=edge.Query.Nearest(_vector(each.query), using=each.using),
                with_payload=each.with_payload,
                filter=_filter(each.filter),
                params=_search(each.params) if each.params else None,
            )
            for each in requests
        ]
        found = self._shard(name).query_batch(edge.QueryBatchRequest(asked))
        return [
            models.QueryResponse(
                points=[models.ScoredPoint(id=p.id, version=p.version, score=p.score, payload=p.payload) for p in each]
            )
            for each in found
        ]


def _soon() -> dict[str, Any]:
    return {
        "optimizers": edge.EdgeOptimizersConfig(indexing_threshold=1, vacuum_min_vector_number=10),
        "hnsw_config": edge.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=1),
    }


def _vector(query: Any) -> Any:
    return query.nearest if isinstance(query, models.NearestQuery) else query


def _params(wanted: Any) -> "edge.EdgeVectorParams":
    assert wanted.multivector_config.comparator == models.MultiVectorComparator.MAX_SIM
    quantised = edge.ScalarQuantizationConfig(edge.ScalarType.Int8, always_ram=True)
    return edge.EdgeVectorParams(
        wanted.size,
        {models.Distance.DOT: edge.Distance.Dot}[wanted.distance],
        on_disk=wanted.on_disk,
        multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim),
        datatype=getattr(edge.VectorStorageDatatype, wanted.datatype.value.capitalize()),
        quantization_config=quantised if wanted.quantization_config else None,
    )


def _search(wanted: Any) -> "edge.SearchParams":
    own = wanted.quantization
    quantised = edge.QuantizationSearchParams(False, own.rescore, own.oversampling) if own else None
    return edge.SearchParams(exact=bool(wanted.exact), quantization=quantised)


def _filter(wanted: Any) -> "edge.Filter":
    def conditions(given: Any) -> Any:
        return [_condition(each) for each in given] if given else None

    return edge.Filter(conditions(wanted.must), conditions(wanted.should), conditions(wanted.must_not))


def _condition(wanted: Any) -> Any:
    if isinstance(wanted, models.Filter):
        return _filter(wanted)
    if wanted.match:
        return edge.FieldCondition(wanted.key, match=edge.MatchAny(wanted.match.any))
    limits = {name: getattr(wanted.range, name) for name in ("gt", "gte", "lt", "lte")}
    return edge.FieldCondition(wanted.key, range=edge.RangeFloat(**limits))
