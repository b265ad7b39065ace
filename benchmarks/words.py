"""Which engine finds words: our postings in the catalog, SQLite's FTS5, tantivy or bm25s, over a million segments.

python benchmarks/words.py [--segments 1000000] [--questions 1000] [--engines ours fts5 tantivy bm25s]

Half of the segments speak; each engine files those documents and answers the same sentences with its 200 best.  tantivy
and bm25s are no dependencies of ours: `pip install tantivy bm25s` where you want to see them.  They keep files of their
own, so a commit of the catalog does not carry them; they are here to know what that costs us.
"""

import argparse
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time

import _corpus
import machine
import numpy as np

from retriever.stores import _bm25, _words
from retriever.types import Modality, WordQuery
from retriever.words import forms, query_words

DEPTH = 200
AT_ONCE = 20_000

Line = tuple[int, Modality, str]
Ask = Callable[[WordQuery], Sequence[int]]


def ours(lines: Sequence[Line], folder: Path) -> Ask:
    connection = sqlite3.connect(folder / "ours.sqlite")
    connection.execute("PRAGMA journal_mode=WAL")
    _words.create(connection)
    for part in chunks(lines):
        _words.add(connection, part)
        connection.commit()
    return lambda words: _words.matching(connection, words, Modality.SPEECH, DEPTH).segments.tolist()


def fts5(lines: Sequence[Line], folder: Path) -> Ask:
    connection = sqlite3.connect(folder / "fts5.sqlite")
    connection.execute("CREATE VIRTUAL TABLE spoken USING fts5(line, content='', tokenize='porter unicode61')")
    for part in chunks(lines):
        connection.executemany(
            "INSERT INTO spoken (rowid, line) VALUES (?, ?)", ((segment, text) for segment, _, text in part)
        )
        connection.commit()
    query = "SELECT rowid FROM spoken WHERE spoken MATCH ? ORDER BY rank LIMIT ?"

    def ask(words: WordQuery) -> Sequence[int]:
        return [row[0] for row in connection.execute(query, (" OR ".join(words.terms), DEPTH))]

    return ask


def tantivy(lines: Sequence[Line], folder: Path) -> Ask:
    import tantivy as engine

    fields = engine.SchemaBuilder()
    fields.add_integer_field("segment", stored=True)
    fields.add_text_field("line", stored=False, tokenizer_name="en_stem")
    (folder / "tantivy").mkdir()
    index = engine.Index(fields.build(), path=str(folder / "tantivy"))
    writer = index.writer(heap_size=200_000_000)
    for segment, _, text in lines:
        writer.add_document(engine.Document(segment=segment, line=text))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()

    def ask(words: WordQuery) -> Sequence[int]:
        hits = searcher.search(index.parse_query(" ".join(words.terms), ["line"]), DEPTH).hits
        return [searcher.doc(address)["segment"][0] for _, address in hits]

    return ask


def bm25s(lines: Sequence[Line], folder: Path) -> Ask:
    import bm25s as engine

    index = engine.BM25()
    index.index([forms(text) for _, _, text in lines], show_progress=False)
    index.save(str(folder / "bm25s"))
    segments = np.array([segment for segment, _, _ in lines])

    def ask(words: WordQuery) -> Sequence[int]:
        found, _ = index.retrieve([list(words.terms)], k=DEPTH, show_progress=False)
        answer: list[int] = segments[found[0]].tolist()
        return answer

    return ask


ENGINES: dict[str, Callable[[Sequence[Line], Path], Ask]] = {
    "ours": ours,
    "fts5": fts5,
    "tantivy": tantivy,
    "bm25s": bm25s,
}


def chunks(lines: Sequence[Line]) -> Iterator[list[Line]]:
    remaining = iter(lines)
    while part := list(islice(remaining, AT_ONCE)):
        yield part


def measure(name: str, lines: Sequence[Line], questions: Sequence[WordQuery], best: list[set[int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        begun, worked = perf_counter(), process_time()
        try:
            ask = ENGINES[name](lines, Path(folder))
        except ModuleNotFoundError as error:
            print(f"{name:9} not installed ({error.name})")
            return
        built, built_cpu = perf_counter() - begun, process_time() - worked
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        for words in questions[:50]:
            ask(words)
        times, answers = [], []
        for words in questions:
            begun = perf_counter()
            answers.append(ask(words))
            times.append(perf_counter() - begun)
    if not best:
        best += [set(answer[:10]) for answer in answers]
    shared = np.mean([len(ten & set(found[:10])) / len(ten) for ten, found in zip(best, answers, strict=True) if ten])
    print(
        f"{name:9} built in {built:6.1f} s ({built_cpu:.1f} s of cpu), {size / len(lines):4.0f} bytes a document, "
        f"{machine.Times(tuple(times))}; {shared:.3f} of the exact ten"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--segments", type=int, default=1_000_000)
    options.add_argument("--questions", type=int, default=1_000)
    options.add_argument("--engines", nargs="*", choices=ENGINES, default=list(ENGINES))
    chosen = options.parse_args()
    print(machine.describe())
    spoken = (line for line in _corpus.lines(chosen.segments, np.random.default_rng(1)) if line[1] is Modality.SPEECH)
    lines = list(spoken)
    questions = [query_words(text) for text in _corpus.questions()[: chosen.questions]]
    print(f"{len(lines):,} documents of {chosen.segments:,} segments, {len(questions):,} sentences")
    best: list[set[int]] = []
    limit, _bm25.CANDIDATES = _bm25.CANDIDATES, chosen.segments
    print("the exact ten, by ours without its limit:")
    measure("ours", lines, questions, best)
    _bm25.CANDIDATES = limit
    for name in chosen.engines:
        measure(name, lines, questions, best)


if __name__ == "__main__":
    main()
