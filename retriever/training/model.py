"""The torch modules behind a head: many texts by many videos at once, with gradients.

    model = TextPool.start("xpool", 384)                  # every map is the identity
    scores = model(texts, Tokens(rows, mask), None)       # (Q, V)
    head = model.head("minilm:3fa9…", ("concepts-minilm-…",), options)

The maps run once a token and never once a pair: attention weights sum to one, so projecting before pooling is the same
as after it, and keys are never made (q · (W_k h + b_k) = (W_kᵀ q) · h + what softmax cancels).  A batch has more texts
than a video has tokens, so this is the cheaper order.  Sources: Gorti et al. 2022, X-Pool, §3; Ibrahimi et al. 2023,
TEFAL.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from retriever import heads
from retriever.heads import EPSILON, FAMILIES, Head
from retriever.types import Floats

FIRST_SCALE = math.log(1 / 0.07)
"""Logarithm of what cosines are multiplied by when training starts (CLIP's first value)."""
MOST_SCALE = math.log(100)
"""What that logarithm is clamped at, as in CLIP."""
FIRST_GATE = -3.0
"""Bias of the gate at the start: with `LOUD`, a seventh of what is heard counts beside what is seen."""
LOUD = 3.0
"""Length, at the start, of what the audio block gives by that of the frame block.  A gate opens to one at most, and
where a text is about a sound, frames that know nothing of it must not drown it: at equal lengths half of what a sound
alone would find is lost (`docs/experiments.md`), and gains, which begin at one, are too slow to learn it."""
SHUT_GATE = -80.0
"""Bias of a gate that lets nothing through."""

_MAPS = ("q", "k", "v", "o", "l")
_NORMS = ("ln1", "ln2", "ln3")


class Tokens(NamedTuple):
    """Tokens of several videos in one space, padded: `rows` `(V, F, D)` as the block sees them, `mask` `(V, F)` which
    of them are real."""

    rows: Tensor
    mask: Tensor

    def mean(self) -> Tensor:
        """`(V, D)`: of the real ones; zeros where there are none."""
        weights = self.mask.to(self.rows.dtype)
        return (self.rows * weights[..., None]).sum(1) / weights.sum(1).clamp(min=1)[:, None]


class Dropout:
    """Dropout whose draws come from its own generator, so that a run that goes on draws as one that never stopped."""

    def __init__(self, share: float, generator: torch.Generator) -> None:
        self.share, self._generator = share, generator

    def __call__(self, values: Tensor) -> Tensor:
        drawn = torch.rand(values.shape, generator=self._generator, device=values.device)
        return values * ((drawn >= self.share) / (1 - self.share))


class Block(nn.Module):
    """One text-conditioned pooling of width D."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o, self.l = (_identity(dimension) for _ in _MAPS)
        self.ln1, self.ln2, self.ln3 = (nn.LayerNorm(dimension, eps=EPSILON) for _ in _NORMS)

    def forward(self, texts: Tensor, tokens: Tokens, dropout: Dropout | None = None) -> Tensor:
        """What each text `(Q, D)` pools from each video: `(V, Q, D)`.  A video without tokens gives finite rows that
        mean nothing."""
        mask = tokens.mask | ~tokens.mask.any(1, keepdim=True)
        seen = self.ln1(tokens.rows)  # (V, F, D)
        asked = self.q(self.ln1(texts)) @ self.k.weight / math.sqrt(texts.shape[1])  # (Q, D)
        logits = (seen @ asked.T).transpose(1, 2)  # (V, Q, F)
        weights = logits.masked_fill(~mask[:, None], -math.inf).softmax(-1)
        projected = self.o(self.v(seen))
        centred = projected - projected.mean(-1, keepdim=True)
        gram = centred @ centred.transpose(1, 2)  # (V, F, F): gives the variance after pooling
        variance = ((weights @ gram) * weights).sum(-1, keepdim=True).clamp(min=0) / texts.shape[1]
        scaled = centred * self.ln2.weight
        both = weights @ torch.cat((scaled, scaled @ self.l.weight.T), -1)  # (V, Q, 2 D)
        pooled, mapped = (both / (variance + EPSILON).sqrt()).chunk(2, -1)
        mapped = mapped + self.l(self.ln2.bias)
        found: Tensor = self.ln3(pooled + self.ln2.bias + (dropout(mapped) if dropout else mapped))
        return found

    def load(self, block: heads.Block) -> None:
        with torch.no_grad():
            for name in _MAPS:
                linear = self.get_submodule(name)
                assert isinstance(linear, nn.Linear)
                linear.weight.copy_(_tensor(getattr(block, f"w{name}")))
                linear.bias.copy_(_tensor(getattr(block, f"b{name}")))
            for name in _NORMS:
                norm = self.get_submodule(name)
                assert isinstance(norm, nn.LayerNorm)
                norm.weight.copy_(_tensor(getattr(block, f"{name}_g")))
                norm.bias.copy_(_tensor(getattr(block, f"{name}_b")))

    def block(self) -> heads.Block:
        maps = {f"{part[0]}{name}": self._array(f"{name}.{part}") for name in _MAPS for part in ("weight", "bias")}
        parts = (("g", "weight"), ("b", "bias"))
        norms = {f"{name}_{short}": self._array(f"{name}.{part}") for name in _NORMS for short, part in parts}
        return heads.Block(**maps, **norms)

    def _array(self, name: str) -> Floats:
        return _array(self.get_parameter(name))


class TextPool(nn.Module):
    """X-Pool, or TEFAL with its second block, its gate and, where audio has another width, its map."""

    def __init__(
        self,
        family: str,
        dimension: int,
        audio_dimension: int | None = None,
        *,
        gated: bool = True,
        mapped: bool = False,
    ) -> None:
        super().__init__()
        self.family = family
        self.blocks = nn.ModuleList(Block(dimension) for _ in range(FAMILIES[family]))
        self.scale = nn.Parameter(torch.tensor(FIRST_SCALE))
        heard = dimension if audio_dimension is None else audio_dimension
        strange = mapped or heard != dimension
        self.audio_map = nn.Linear(heard, dimension) if family == "tefal" and strange else None
        self.gate = nn.Linear(3 * dimension, 1) if family == "tefal" and gated else None
        if self.audio_map is not None:
            nn.init.orthogonal_(self.audio_map.weight)
            nn.init.zeros_(self.audio_map.bias)
        if self.gate is not None:
            self.set_gate(FIRST_GATE)

    @classmethod
    def start(
        cls, family: str, dimension: int, audio_dimension: int | None = None, seed: int = 0, *, mapped: bool = False
    ) -> Self:
        """As training begins: all of it the identity, what is heard loud, and a gate that is nearly shut.  Only an
        audio map is drawn."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = cls(family, dimension, audio_dimension, mapped=mapped)
        for block in made.blocks[1:]:
            assert isinstance(block, Block)
            nn.init.constant_(block.ln3.weight, LOUD)
        return made

    @classmethod
    def of(cls, head: Head) -> Self:
        """The module with a head's weights."""
        gated, mapped = head.gate is not None, head.audio_map is not None
        made = cls(head.family, head.dimension, head.audio_dimension, gated=gated, mapped=mapped)
        for module, block in zip(made.blocks, head.blocks, strict=True):
            assert isinstance(module, Block)
            module.load(block)
        with torch.no_grad():
            if head.audio_map is not None:
                weight, bias = head.audio_map
                made.audio_map = made.audio_map or nn.Linear(weight.shape[1], head.dimension)
                made.audio_map.weight.copy_(_tensor(weight))
                made.audio_map.bias.copy_(_tensor(bias))
            if made.gate is not None and head.gate is not None:
                made.gate.weight.copy_(_tensor(head.gate.weight)[None])
                made.gate.bias.fill_(head.gate.bias)
        return made

    def head(self, query_space: str, token_spaces: tuple[str, ...], options: Mapping[str, Any]) -> Head:
        """The weights as they are kept and searched with."""
        mapped, gate = self.audio_map, self.gate
        return Head(
            self.family,
            query_space,
            token_spaces,
            tuple(block.block() for block in self.blocks if isinstance(block, Block)),
            (_array(mapped.weight), _array(mapped.bias)) if mapped is not None else None,
            heads.Gate(_array(gate.weight)[0], float(gate.bias.item())) if gate is not None else None,
            options,
        )

    def set_gate(self, bias: float) -> None:
        """A gate that is the same for every text and video."""
        assert self.gate is not None
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, bias)

    def forward(self, texts: Tensor, frames: Tokens, audio: Tokens | None, dropout: Dropout | None = None) -> Tensor:
        """Cosine of each text `(Q, D)` with what it pools from each video: `(Q, V)`.  A video without audio is scored
        by its frames alone."""
        pooled = self.blocks[0](texts, frames, dropout)  # (V, Q, D)
        if self.family == "tefal" and audio is not None:
            heard = Tokens(audio.rows if self.audio_map is None else self.audio_map(audio.rows), audio.mask)
            share = self._shares(texts, frames, heard)[..., None]
            there = audio.mask.any(1)[:, None, None]
            pooled = torch.where(there, pooled + share * self.blocks[1](texts, heard, dropout), pooled)
        products = torch.einsum("vqd,qd->qv", pooled, texts)
        cosines: Tensor = products / (pooled.norm(dim=-1).T * texts.norm(dim=-1, keepdim=True)).clamp(min=1e-12)
        return cosines

    def temperature(self) -> Tensor:
        """What cosines are multiplied by."""
        return self.scale.clamp(max=MOST_SCALE).exp()

    def _shares(self, texts: Tensor, frames: Tokens, heard: Tokens) -> Tensor:
        """How much of what is heard counts, `(V, Q)`."""
        if self.gate is None:
            return torch.ones((), device=texts.device)
        seen, sounds, asked = self.gate.weight[0].chunk(3)
        of_video = frames.mean() @ seen + heard.mean() @ sounds
        return torch.sigmoid(of_video[:, None] + texts @ asked + self.gate.bias)


def _identity(dimension: int) -> nn.Linear:
    made = nn.Linear(dimension, dimension)
    nn.init.eye_(made.weight)
    nn.init.zeros_(made.bias)
    return made


def _tensor(array: Floats) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))


def _array(tensor: Tensor) -> Floats:
    return np.array(tensor.detach().cpu().numpy(), np.float32)
