"""X-Pool and TEFAL, folded, against the plain forms, by turns: what a question costs, and whether the answers agree.

The plain form is what the authors' code does for a query, in torch over all candidates at once: both normalisations of
the tokens, keys, values and all maps.  "K, V kept" has keys and values worked out before.  Both get the same stored
halves.

export OMP_NUM_THREADS=2                            # two threads, also where there are more cores
taskset -c 0,1 python benchmarks/rerank.py              # needs torch
taskset -c 0,1 python benchmarks/rerank.py --largest    # 10,000 texts × 10,000 candidates: time and memory
"""

import argparse
from collections.abc import Callable
from dataclasses import fields
from time import perf_counter
from typing import Any

import machine
import numpy as np

from retriever.heads import Block, Gate, Head
from retriever.rerankers.textpool import TextPool

WIDTH, TOKENS, THREADS = 512, 12, 2
SIZES = {100: (31, 20), 1_000: (11, 10), 10_000: (5, 5)}
"""Candidates: rounds by turns, and questions of the quick forms in each (a plain form has one)."""
ASKED = 200
"""Questions whose ten best are compared."""
TOP = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", action="store_true", help="10,000 × 10,000 only")
    if parser.parse_args().largest:
        largest()
        return
    print(machine.describe())
    print(f"D = {WIDTH}, {TOKENS} tokens a candidate, {THREADS} threads")
    for size, (rounds, asked) in SIZES.items():
        one_question(size, rounds, asked)
    agreement()
    heard()
    all_pairs()


def one_question(size: int, rounds: int, asked: int) -> None:
    """One text, `size` candidates."""
    plain = Plain(head("xpool"))
    pool = TextPool(head("xpool"))
    tokens, texts = candidates(size, 1).astype(np.float16), unit(asked, 2)
    everyone = np.ones(tokens.shape[:2], bool)
    begun = perf_counter()
    ready = pool.prepare(tokens, everyone)
    took = perf_counter() - begun
    rough = ready.in_bytes()
    shared = plain.tensor(tokens)
    kept = plain.keys_and_values(shared)
    own = sum(side.rows.nbytes + side.factors.nbytes + side.record.nbytes for side in ready.sides)
    there = np.empty(own, np.uint8)
    here = np.ones(own, np.uint8)
    works: list[Callable[[], object]] = [
        lambda: plain.question(texts[0], shared),
        lambda: plain.question_kept(texts[0], *kept),
        lambda: [pool.scores(text[None], tokens, everyone) for text in texts[:2]],
        lambda: [pool.score_prepared(text[None], ready) for text in texts],
        lambda: [pool.score_prepared(text[None], rough) for text in texts],
        lambda: [np.copyto(there, here) for _ in range(asked)],
    ]
    first, second, *others = machine.by_turns(works, runs=rounds)
    pooled, folded, eighths, copied = (
        scaled(times, number) for times, number in zip(others, (2, asked, asked, asked), strict=True)
    )
    print(
        f"\none question, {size:,} candidates ({rounds} rounds by turns, {asked} questions of a folded form in each):"
    )
    print(f"  plain          {1e3 * first.median:10.3f} ms")
    print(f"  K, V kept      {1e3 * second.median:10.3f} ms")
    for name, times in (("pooled first", pooled), ("folded", folded), ("folded, int8", eighths)):
        print(
            f"  {name:14} {1e3 * times.median:10.3f} ms: {machine.ratio(first, times):7.1f} × plain, "
            f"{machine.ratio(second, times):6.1f} × K, V kept"
        )
    print(
        f"  read {own / folded.median / 1e9:.1f} GB/s ({own / 1e6:.1f} MB); a copy of the same size reads "
        f"{own / copied.median / 1e9:.1f} GB/s in {1e3 * copied.median:.3f} ms, and writes as much"
    )
    print(
        f"  prepare {took:.2f} s, {1e6 * took / size:.0f} µs a candidate; record {4 * ready.sides[0].places[1]} bytes"
    )


def agreement() -> None:
    """The same scores, and the same ten best, at 1,000 and 10,000 candidates."""
    plain, pool = Plain(head("xpool")), TextPool(head("xpool"))
    for size, questions in ((1_000, ASKED), (10_000, ASKED // 4)):
        exact = candidates(size, 3)
        tokens, texts = exact.astype(np.float16), unit(questions, 4)
        everyone = np.ones(tokens.shape[:2], bool)
        ready = pool.prepare(tokens, everyone)
        rough = ready.in_bytes()
        stored, unrounded = (plain.keys_and_values(plain.tensor(one)) for one in (tokens, exact))
        off, from_exact, same, same_rough = 0.0, 0.0, 0, 0
        for text in texts:
            truth = plain.question_kept(text, *stored)
            (folded,) = pool.score_prepared(text[None], ready)
            (eighths,) = pool.score_prepared(text[None], rough)
            off = max(off, float(np.abs(folded - truth).max()))
            from_exact = max(from_exact, float(np.abs(folded - plain.question_kept(text, *unrounded)).max()))
            same += best(folded) == best(truth)
            same_rough += best(eighths) == best(truth)
        print(f"\n{questions} questions, {size:,} candidates:")
        print(
            f"  folded is within {off:.1e} of plain on the same halves, {from_exact:.1e} of plain on unrounded tokens"
        )
        print(f"  the same {TOP} best as plain: folded {same / questions:.1%}, int8 {same_rough / questions:.1%}")


def heard() -> None:
    """TEFAL, one text, 10,000 candidates with as many sounds as frames."""
    size = 10_000
    plain, pool = Plain(head("tefal")), TextPool(head("tefal"))
    tokens, sounds = candidates(size, 5).astype(np.float16), candidates(size, 6).astype(np.float16)
    everyone = np.ones(tokens.shape[:2], bool)
    begun = perf_counter()
    ready = pool.prepare(tokens, everyone, sounds, everyone)
    took = perf_counter() - begun
    shared, loud = plain.tensor(tokens), plain.tensor(sounds)
    text = unit(1, 7)
    first, folded = machine.by_turns(
        [
            lambda: plain.question_heard(text[0], shared, loud),
            lambda: [pool.score_prepared(text, ready) for _ in range(5)],
        ],
        runs=3,
    )
    folded = scaled(folded, 5)
    off = float(np.abs(plain.question_heard(text[0], shared, loud) - pool.score_prepared(text, ready)[0]).max())
    print(f"\nTEFAL, one question, {size:,} candidates, {TOKENS} frames and {TOKENS} sounds:")
    print(
        f"  plain {1e3 * first.median:.1f} ms, folded {1e3 * folded.median:.2f} ms: "
        f"{machine.ratio(first, folded):.1f} ×"
    )
    print(f"  within {off:.1e}; prepare {took:.2f} s")


def all_pairs() -> None:
    """1,000 texts × 1,000 candidates."""
    size = 1_000
    plain, pool = Plain(head("xpool")), TextPool(head("xpool"))
    tokens, texts = candidates(size, 8).astype(np.float16), unit(size, 9)
    everyone = np.ones(tokens.shape[:2], bool)
    shared = plain.tensor(tokens)
    ready = pool.prepare(tokens, everyone)
    first, whole, scored = machine.by_turns(
        [
            lambda: plain.pairs(texts, shared),
            lambda: pool.scores(texts, tokens, everyone),
            lambda: pool.score_prepared(texts, ready),
        ],
        runs=3,
    )
    off = float(np.abs(plain.pairs(texts, shared) - pool.scores(texts, tokens, everyone)).max())
    print(f"\nall pairs, {size:,} × {size:,}, within {off:.1e}:")
    print(f"  plain {first.median:.2f} s, all in blocks")
    for name, times in (("folded with prepare", whole), ("folded, prepared", scored)):
        print(f"  {name:20} {times.median:.3f} s: {machine.ratio(first, times):.1f} ×")


def largest() -> None:
    """10,000 × 10,000 in this process alone, so that its peak is theirs."""
    size = 10_000
    print(machine.describe())
    pool = TextPool(head("xpool"))
    tokens = np.empty((size, TOKENS, WIDTH), np.float16)
    for begin in range(0, size, 1_000):
        tokens[begin : begin + 1_000] = candidates(1_000, begin)
    texts = unit(size, 11)
    begun = perf_counter()
    scores = pool.scores(texts, tokens, np.ones(tokens.shape[:2], bool))
    took = perf_counter() - begun
    print(f"{size:,} × {size:,}: {took:.1f} s, {scores.size / took / 1e6:.1f} million pairs a second, prepare included")
    print(f"the most memory that the process held: {machine.peak_megabytes():.0f} MB")


class Plain:
    """X-Pool and TEFAL in torch, by the papers: all candidates at once, nothing folded."""

    def __init__(self, own: Head) -> None:
        import torch

        torch.set_num_threads(THREADS)
        self._torch = torch
        self._functions = torch.nn.functional
        self._blocks = [
            {name: torch.from_numpy(array.copy()) for name, array in block.arrays().items()} for block in own.blocks
        ]
        self._gate = own.gate

    def tensor(self, tokens: np.ndarray) -> Any:
        return self._torch.from_numpy(tokens)

    def keys_and_values(self, tokens: Any, number: int = 0) -> tuple[Any, Any]:
        at, functions = self._blocks[number], self._functions
        with self._torch.inference_mode():
            inner = functions.layer_norm(tokens.float(), (WIDTH,), at["ln1_g"], at["ln1_b"])
            return functions.linear(inner, at["wk"], at["bk"]), functions.linear(inner, at["wv"], at["bv"])

    def question(self, text: np.ndarray, tokens: Any) -> np.ndarray:
        return self._cosines(text, self._seen(text, *self.keys_and_values(tokens)))

    def question_kept(self, text: np.ndarray, keys: Any, values: Any) -> np.ndarray:
        return self._cosines(text, self._seen(text, keys, values))

    def question_heard(self, text: np.ndarray, tokens: Any, sounds: Any) -> np.ndarray:
        torch = self._torch
        with torch.inference_mode():
            seen = self._seen(text, *self.keys_and_values(tokens))
            loud = self._seen(text, *self.keys_and_values(sounds, 1), 1)
            means = [
                tokens.float().mean(dim=1),
                sounds.float().mean(dim=1),
                torch.from_numpy(text).expand(len(seen), -1),
            ]
            weight = torch.from_numpy(self._gate.weight)
            gate = torch.sigmoid(torch.cat(means, dim=1) @ weight + self._gate.bias)
            return self._cosines(text, seen + gate[:, None] * loud)

    def pairs(self, texts: np.ndarray, tokens: Any, block: int = 50) -> np.ndarray:
        """All texts × all candidates; pooled vectors of `block` candidates at a time, as all of them are D a pair."""
        torch, functions, at = self._torch, self._functions, self._blocks[0]
        asked = torch.from_numpy(texts)
        with torch.inference_mode():
            inner = functions.layer_norm(asked, (WIDTH,), at["ln1_g"], at["ln1_b"])
            queries = functions.linear(inner, at["wq"], at["bq"])
            columns = []
            for begin in range(0, len(tokens), block):
                keys, values = self.keys_and_values(tokens[begin : begin + block])
                attention = torch.softmax(torch.einsum("vfd,qd->vqf", keys, queries) / WIDTH**0.5, dim=2)
                seen = self._after(0, attention @ values)
                columns.append(functions.cosine_similarity(seen, asked[None], dim=2))
            return torch.cat(columns).T.numpy()

    def _seen(self, text: np.ndarray, keys: Any, values: Any, number: int = 0) -> Any:
        torch, functions, at = self._torch, self._functions, self._blocks[number]
        with torch.inference_mode():
            inner = functions.layer_norm(torch.from_numpy(text), (WIDTH,), at["ln1_g"], at["ln1_b"])
            query = functions.linear(inner, at["wq"], at["bq"])
            attention = torch.softmax(keys @ query / WIDTH**0.5, dim=1)
            return self._after(number, (attention[:, None] @ values)[:, 0])

    def _after(self, number: int, pooled: Any) -> Any:
        functions, at = self._functions, self._blocks[number]
        out = functions.linear(pooled, at["wo"], at["bo"])
        middle = functions.layer_norm(out, (WIDTH,), at["ln2_g"], at["ln2_b"])
        linear = functions.linear(middle, at["wl"], at["bl"])
        return functions.layer_norm(middle + linear, (WIDTH,), at["ln3_g"], at["ln3_b"])

    def _cosines(self, text: np.ndarray, seen: Any) -> np.ndarray:
        with self._torch.inference_mode():
            return self._functions.cosine_similarity(seen, self._torch.from_numpy(text)[None], dim=1).numpy()


def head(family: str) -> Head:
    """Weights as training leaves them: around the identity, and all of them moved."""
    generator = np.random.default_rng(0)

    def block() -> Block:
        arrays = {}
        for name in (one.name for one in fields(Block)):
            if name.startswith("w"):
                array = np.eye(WIDTH) / 2 + generator.normal(size=(WIDTH, WIDTH)) / np.sqrt(WIDTH)
            else:
                array = generator.normal(1.0 if name.endswith("_g") else 0.0, 0.1, WIDTH)
            arrays[name] = array.astype(np.float32)
        return Block(**arrays)

    if family == "xpool":
        return Head("xpool", "", ("frames",), (block(),))
    gate = Gate(generator.normal(0, 0.1, 3 * WIDTH).astype(np.float32), -1.0)
    return Head("tefal", "", ("frames", "sounds"), (block(), block()), gate=gate)


def candidates(size: int, seed: int) -> np.ndarray:
    """Tokens `(V, F, D)` of length one that share something within a candidate, as those of a video do."""
    generator = np.random.default_rng(seed)
    tokens = generator.standard_normal((size, TOKENS, WIDTH), dtype=np.float32)
    tokens += generator.standard_normal((size, 1, WIDTH), dtype=np.float32)
    tokens /= np.linalg.norm(tokens, axis=2, keepdims=True)
    return tokens


def unit(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, WIDTH), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def best(scores: np.ndarray) -> set[int]:
    return set(np.argpartition(scores, -TOP)[-TOP:].tolist())


def scaled(times: machine.Times, number: int) -> machine.Times:
    """Of one question, where each run had `number` of them."""
    return machine.Times(tuple(second / number for second in times.seconds))


if __name__ == "__main__":
    main()
