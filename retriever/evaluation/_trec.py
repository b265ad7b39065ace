"""Runs and judgements as TREC keeps them (trec_eval's README), so that other programs can score ours and we theirs.

qrels: `QUESTION 0 DOCUMENT RELEVANCE`        run: `QUESTION Q0 DOCUMENT RANK SCORE NAME`
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.errors import BenchmarkError
from retriever.evaluation._formats import lines
from retriever.evaluation.measures import Numbers, Scores, Truth

NAME = "reelseek"


def identifiers(names: Sequence[str]) -> list[str]:
    """Names without spaces, which the formats cannot hold; still one each.

    Raises:
        BenchmarkError: two names become one.
    """
    made = ["_".join(name.split()) for name in names]
    if len(set(made)) != len(made) or not all(made):
        raise BenchmarkError("two names are alike but for their spaces, or one is empty; TREC files need one each")
    return made


def write_qrels(path: Path, truth: Truth, questions: Sequence[str], documents: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8") as out:
        for row, column in zip(truth.rows.tolist(), truth.columns.tolist(), strict=True):
            out.write(f"{questions[row]} 0 {documents[column]} 1\n")


def write_run(path: Path, scores: Scores, questions: Sequence[str], documents: Sequence[str]) -> None:
    """Every document that has a score, best first; nine digits, so that float32 survives."""
    with path.open("w", encoding="utf-8") as out:
        for question, row in zip(questions, scores, strict=True):
            order = np.argsort(-row, kind="stable")
            for rank, column in enumerate(order[np.isfinite(row[order])].tolist(), 1):
                out.write(f"{question} Q0 {documents[column]} {rank} {row[column]:.9g} {NAME}\n")


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Relevance by question and document.

    Raises:
        BenchmarkError: with the line.
    """
    found: dict[str, dict[str, int]] = {}
    for number, (question, _, document, relevance) in _fields(path, 4, "QUESTION 0 DOCUMENT RELEVANCE"):
        found.setdefault(question, {})[document] = _whole(path, number, relevance)
    return found


def read_run(path: Path) -> dict[str, dict[str, float]]:
    """Scores by question and document; ranks in the file are not believed, as trec_eval does not.

    Raises:
        BenchmarkError: with the line.
    """
    found: dict[str, dict[str, float]] = {}
    for number, (question, _, document, _, score, _) in _fields(path, 6, "QUESTION Q0 DOCUMENT RANK SCORE NAME"):
        documents = found.setdefault(question, {})
        if document in documents:
            raise BenchmarkError(f"{path}:{number}: {document} stands there twice for {question}")
        documents[document] = _number(path, number, score)
    return found


def matrix(run: dict[str, dict[str, float]], qrels: dict[str, dict[str, int]]) -> tuple[Numbers, Truth]:
    """Scores and truth of the judged questions, in the order of their names; -inf where a run does not answer."""
    right = {question: [d for d, level in sorted(judged.items()) if level > 0] for question, judged in qrels.items()}
    questions = sorted(question for question, documents in right.items() if documents)
    if not questions:
        raise BenchmarkError("the judgements name no relevant document")
    documents = sorted({d for judged in qrels.values() for d in judged} | {d for one in run.values() for d in one})
    column = {document: place for place, document in enumerate(documents)}
    scores: NDArray[np.float64] = np.full((len(questions), len(documents)), -np.inf)
    for row, question in zip(scores, questions, strict=True):
        for document, score in run.get(question, {}).items():
            row[column[document]] = score
    return scores, Truth.of([[column[d] for d in right[question]] for question in questions], len(documents))


def _fields(path: Path, count: int, wanted: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in lines(path):
        fields: list[Any] = line.split()
        if len(fields) != count:
            raise BenchmarkError(f"{path}:{number}: {len(fields)} fields; it wants {count}: {wanted}")
        yield number, fields


def _number(path: Path, number: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if np.isnan(value):
        raise BenchmarkError(f"{path}:{number}: the score is {text!r}; it wants a number")
    return value


def _whole(path: Path, number: int, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise BenchmarkError(f"{path}:{number}: the relevance is {text!r}; it wants a whole number") from error
