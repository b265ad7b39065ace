"""ILA's network, from the authors' checkpoint: frames that say to one another where to look.

Source: Tu, Dai, Wu, Cheng, Hu and Jiang, "Implicit Temporal Modeling with Learnable Alignment for Video Recognition"
(ICCV 2023), §3, and the authors' code for what the paper leaves open.  Before each block of CLIP's vision transformer,
neighbouring frames are laid over each other, and convolutions find in either one point that both are about; patches
count the less the farther they are from it.  What the convolutions saw goes into both frames as well.  (The paper's
text also has a token of each pair in the attention.  The code that the authors publish uses it for a loss alone, and so
it is not made here.)

Published are two forms, and the names of the weights say which one it is:

*A classifier* (Something-Something v2): `mit.classify_head` has a logit a class.
*With a text tower* (Kinetics-400): CLIP's own, fine-tuned along; clips and texts meet in one space.  The prompts that
these models add to a text after a look at the clip are left out: an index has one vector a clip for all texts.

Sizes come from the weights' shapes.
"""

import csv
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from encoders._bridge import Layer
from encoders._checkpoints import fill
from encoders._models import LABELS, Files
from encoders._pixels import Preprocessing
from encoders._unpickling import tensors
from retriever.errors import MissingWeights, WrongCheckpoint

HEAD = 64  # numbers of an attention head, in every model of CLIP
CHANNELS = 256  # of what is seen in a pair: half of them are about the earlier frame, half about the later
REACH = 0.75  # how far from the middle a point may lie, where the border is 1
FLAT, SLOPE = 0.25, 1.5  # up to this distance patches count in full, and so much less for each 1 beyond
LEAST_GRID = 4  # patches a side: they are halved twice
LEAST_FRAMES = LEAST_CLASSES = 2
WORDS = 49_408  # of CLIP's tokenizer
PROMPTS = ("prompts_generator.", "prompts_visual_ln.", "prompts_visual_proj", "logit_scale")
"""Weights that say how a text changes with the clip, and how sharp a choice among texts is."""
TEXTS = ("transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection")
"""Of the text tower, which lies unused in checkpoints of classifiers."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of pixels of 0 to 1; of 255: 123.675 and so on
REVISION = "1"
"""Of what is calculated here from the same weights."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The sizes of a model."""

    frames: int
    patch: int  # pixels a side
    grid: int  # patches a side
    width: int
    layers: int
    dimension: int  # of a clip
    integration: int  # layers over frames
    separable: bool  # the first convolution over pairs: depthwise and pointwise (Kinetics-400), or a full one
    classes: int  # 0 where there is a text tower
    context: int = 0  # tokens of a text
    text_width: int = 0
    text_layers: int = 0

    @property
    def side(self) -> int:
        """Pixels."""
        return self.patch * self.grid

    @property
    def preprocessing(self) -> Preprocessing:
        """As the authors test: the shorter side fitted, the middle cropped."""
        return Preprocessing((self.side, self.side), MEAN, STD, "bilinear", "shortest", 0)


@dataclass(frozen=True)
class Published:
    """What is known of a model before its network is built."""

    files: Files
    plan: Plan
    names: tuple[str, ...] = ()  # of the classes
    layer: Layer | None = None  # of the classifier

    @property
    def digest(self) -> str:
        """Of weights, names of classes, and what is calculated here."""
        return sha256(f"{self.files.digest} {self.plan.preprocessing} {REVISION}".encode()).hexdigest()


def read(files: Files) -> Published:
    """The model of these files.

    Raises:
        WrongCheckpoint: it is no checkpoint of ILA, is cut off, or the names are not those of its classes.
        MissingWeights: nothing beside a classifier says what its classes are called.
    """
    weights = tensors(files.weights)
    plan = planned(weights, files.weights)
    if not plan.classes:
        return Published(files, plan)
    matrix, bias = (weights[f"mit.classify_head.2.{part}"].float() for part in ("weight", "bias"))
    if not (matrix.isfinite().all() and bias.isfinite().all() and matrix.any()):
        raise WrongCheckpoint(f"{files.weights} has a classifier of zeros or of no numbers: take another checkpoint")
    return Published(files, plan, _class_names(files, plan.classes), Layer(matrix.numpy(), bias.numpy()))


def network(published: Published) -> "Network":
    """With its weights, in float32 on the CPU.

    Raises:
        WrongCheckpoint: weights are missing, or of another size.
    """
    made, file = Network(published.plan), published.files.weights
    unneeded = PROMPTS if not published.plan.classes else PROMPTS + TEXTS
    fill(made, {name: value for name, value in tensors(file).items() if not name.startswith(unneeded)}, file, "ILA")
    return made.eval()


# --------------------------------------------------------------------------------------------------------------- sizes


def planned(weights: Mapping[str, torch.Tensor], file: Path) -> Plan:
    """The sizes of a model, from its weights' shapes.

    Raises:
        WrongCheckpoint: they are not of ILA.
    """
    shape = _Shapes(weights, file)
    width, _, patch, _ = shape("visual.conv1.weight", 4)
    places, _ = shape("visual.positional_embedding", 2)
    _, dimension = shape("visual.proj", 2)
    _, frames, _ = shape("mit.positional_embedding", 3)
    pairs = "visual.transformer.resblocks.0.message_attn.interactive_block.0"
    separable = f"{pairs}.depthwise_conv.0.weight" in weights
    shape(f"{pairs}.depthwise_conv.0.weight" if separable else f"{pairs}.weight", 4)
    classifier = "mit.classify_head.2.weight" in weights
    plan = Plan(
        frames=frames,
        patch=patch,
        grid=round((places - 1) ** 0.5),
        width=width,
        layers=shape.count("visual.transformer.resblocks."),
        dimension=dimension,
        integration=shape.count("mit.resblocks."),
        separable=separable,
        classes=shape("mit.classify_head.2.weight", 2)[0] if classifier else 0,
        context=0 if classifier else shape("positional_embedding", 2)[0],
        text_width=0 if classifier else shape("positional_embedding", 2)[1],
        text_layers=0 if classifier else shape.count("transformer.resblocks."),
    )
    words = WORDS if classifier else shape("token_embedding.weight", 2)[0]
    if classifier:
        shape("mit.classify_head.2.bias", 1)
    for name, value, good, wanted in (
        ("frames", frames, frames >= LEAST_FRAMES, f"{LEAST_FRAMES} or more"),
        ("places", places, places == plan.grid**2 + 1 and plan.grid >= LEAST_GRID, "one more than a square of 16 up"),
        ("width", width, width % HEAD == 0, f"a multiple of {HEAD}"),
        ("dimension", dimension, dimension % HEAD == 0, f"a multiple of {HEAD}"),
        ("width of texts", plan.text_width, plan.text_width % HEAD == 0, f"a multiple of {HEAD}"),
        ("words", words, words == WORDS, f"the {WORDS} of CLIP's tokenizer"),
        ("classes", plan.classes, not classifier or plan.classes >= LEAST_CLASSES, f"{LEAST_CLASSES} or more"),
    ):
        if not good:
            raise WrongCheckpoint(f"{file} is not of ILA: {name} {value}, wanted {wanted}; name another checkpoint")
    return plan


class _Shapes:
    """Of weights by name."""

    def __init__(self, weights: Mapping[str, torch.Tensor], file: Path) -> None:
        self._weights = weights
        self._file = file

    def __call__(self, name: str, dimensions: int) -> tuple[int, ...]:
        """
        Raises:
            WrongCheckpoint: there is no such weight, or it has no such form.
        """
        value = self._weights.get(name)
        if value is None or value.dim() != dimensions or not all(value.shape):
            form = "has none" if value is None else f"has one of {'×'.join(map(str, value.shape)) or 'one number'}"
            raise WrongCheckpoint(
                f"{self._file} is not of ILA: it wants a weight {name} of {dimensions} dimensions and {form}; name a "
                "checkpoint as the authors publish them"
            )
        return tuple(value.shape)

    def count(self, before: str) -> int:
        """How many numbers there are behind these letters."""
        return len({name.removeprefix(before).partition(".")[0] for name in self._weights if name.startswith(before)})


# --------------------------------------------------------------------------------------------------------------- names


def _class_names(files: Files, count: int) -> tuple[str, ...]:
    """What the classes are called, in the order of the logits."""
    folder = files.weights.parent if files.folder is None else files.folder
    file = next((folder / name for name in LABELS if (folder / name).is_file()), None)
    if file is None:
        raise MissingWeights(
            f"{folder} has no {' or '.join(LABELS)}: wanted the names of the {count} classes of {files.weights.name} "
            "as a table with the header id,name, or a name a line"
        )
    try:
        text = file.read_text("utf-8-sig")
        names = _table(text) if file.suffix == ".csv" else _lines(text)
    except (OSError, ValueError, csv.Error) as error:
        raise WrongCheckpoint(f"{file} cannot be read ({error}): it wants the names of {count} classes") from error
    if len(names) != count:
        raise WrongCheckpoint(
            f"{file} names {len(names)} classes, the classifier in {files.weights.name} has {count}: bring the names "
            "that it was trained with"
        )
    return names


def _table(text: str) -> tuple[str, ...]:
    """Of rows `id,name` below such a header, in any order."""
    rows = list(csv.DictReader(text.splitlines()))
    if not rows or not {"id", "name"} <= rows[0].keys():
        raise ValueError("the header is not id,name")
    named = {int(row["id"] or ""): _plain(row["name"]) for row in rows}
    if sorted(named) != list(range(len(rows))):
        raise ValueError(f"the ids are not 0 to {len(rows) - 1}, each once")
    return tuple(named[number] for number in range(len(rows)))


def _lines(text: str) -> tuple[str, ...]:
    return tuple(_plain(line) for line in text.rstrip().splitlines())


def _plain(name: str | None) -> str:
    words = " ".join((name or "").split())
    if not words:
        raise ValueError("a class has no name")
    return words


# ------------------------------------------------------------------------------------------------------------- network


class Network(nn.Module):
    """Clips through `visual` and then `mit`; texts, where there is a tower for them, through `encode_text`."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.visual: Any = _Vision(plan)
        self.mit: Any = _Integration(plan)
        if not plan.classes:
            self.token_embedding = nn.Embedding(WORDS, plan.text_width)
            self.positional_embedding = nn.Parameter(torch.zeros(plan.context, plan.text_width))
            self.transformer = _Stack(*(_Block(plan.text_width, causal=True) for _ in range(plan.text_layers)))
            self.ln_final = _Norm(plan.text_width)
            self.text_projection = nn.Parameter(torch.zeros(plan.text_width, plan.dimension))

    def sight(self) -> nn.Module:
        """Clips `(N, T, 3, h, w)` → `(N, C)` logits, or `(N, D)`."""
        return nn.Sequential(OrderedDict(visual=self.visual, mit=self.mit))

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        """Token numbers `(N, context)` → `(N, D)`: what is at the end of the text, whose number is the highest."""
        x = self.token_embedding(tokens) + self.positional_embedding
        x = self.ln_final(self.transformer(x))
        rows: torch.Tensor = x[torch.arange(len(x), device=x.device), tokens.argmax(dim=-1)] @ self.text_projection
        return rows


class _Norm(nn.LayerNorm):
    """In float32, whatever else is calculated in."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self.weight.float(), self.bias.float()
        return F.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps).to(x.dtype)


class _Attention(nn.Module):
    """As `nn.MultiheadAttention`, whose weights these are."""

    def __init__(self, width: int, *, causal: bool) -> None:
        super().__init__()
        self.heads = width // HEAD
        self.causal = causal
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(N, L, D)` → the same."""
        parts = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        parts = parts.reshape(*x.shape[:2], 3, self.heads, HEAD)
        asked, offered, held = parts.permute(2, 0, 3, 1, 4)  # each (N, heads, L, HEAD)
        mixed = F.scaled_dot_product_attention(asked, offered, held, is_causal=self.causal)
        out: torch.Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out


class _QuickGELU(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(1.702 * x)


class _Block(nn.Module):
    """A layer of CLIP's transformers."""

    def __init__(self, width: int, *, causal: bool = False) -> None:
        super().__init__()
        self.attn = _Attention(width, causal=causal)
        self.ln_1 = _Norm(width)
        parts = OrderedDict(c_fc=nn.Linear(width, 4 * width), gelu=_QuickGELU(), c_proj=nn.Linear(4 * width, width))
        self.mlp = nn.Sequential(parts)
        self.ln_2 = _Norm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(N, L, D)` → the same."""
        x = x + self.attn(self.ln_1(x))
        out: torch.Tensor = x + self.mlp(self.ln_2(x))
        return out


class _Stack(nn.Module):
    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.resblocks(x)
        return out


class _Vision(nn.Module):
    """CLIP's vision transformer, whose blocks see all frames of a clip."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.frames = plan.frames
        self.places = plan.grid**2 + 1
        self.width = plan.width
        self.conv1 = nn.Conv2d(3, plan.width, plan.patch, plan.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(plan.width))
        self.positional_embedding = nn.Parameter(torch.zeros(self.places, plan.width))
        self.ln_pre = _Norm(plan.width)
        self.transformer = _Stack(*(_AlignedBlock(plan) for _ in range(plan.layers)))
        self.ln_post = _Norm(plan.width)
        self.proj = nn.Parameter(torch.zeros(plan.width, plan.dimension))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """`(N, T, 3, h, w)` → `(N, T, D)`, a row a frame."""
        patches = self.conv1(pixels.flatten(0, 1)).flatten(2).transpose(1, 2)  # (NT, places - 1, width)
        first = self.class_embedding + torch.zeros_like(patches[:, :1])
        x = self.ln_pre(torch.cat([first, patches], dim=1) + self.positional_embedding)
        x = self.transformer(x.reshape(-1, self.frames, self.places, self.width))
        rows: torch.Tensor = self.ln_post(x[:, :, 0]) @ self.proj
        return rows


class _AlignedBlock(_Block):
    """A layer of CLIP's vision transformer, and before it what neighbouring frames have to do with each other."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.width)
        self.message_fc = nn.Linear(plan.width, plan.width)
        self.message_ln = _Norm(plan.width)
        self.message_attn = Alignment(plan)
        self.temporal_skip_fc = nn.Linear(plan.width, plan.width)
        self.temporal_skip_align_fc = nn.Linear(plan.width, plan.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(N, T, places, D)` → the same."""
        near, seen = self.message_attn(self.message_ln(self.message_fc(x)))
        x = x + self.temporal_skip_align_fc(near) + self.temporal_skip_fc(seen)
        return super().forward(x.flatten(0, 1)).reshape(x.shape)


class Alignment(nn.Module):
    """What is in both of two neighbouring frames (§3.2)."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.pairs = plan.frames - 1
        self.grid = plan.grid
        self.width = plan.width
        half = CHANNELS // 2
        self.interactive_block = _over_pairs(2 * plan.width, separable=plan.separable)
        self.prediction_block = nn.Sequential(
            nn.Conv2d(CHANNELS, half, 3, padding=1),
            nn.BatchNorm2d(half),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(half, half, 3, padding=1),
            nn.BatchNorm2d(half),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(2),
            nn.Conv1d(half, half // 2, 1, groups=2),
            nn.ReLU(),
            nn.Conv1d(half // 2, 4, 1, groups=2),
            nn.Tanh(),
        )
        self.conv = nn.Conv3d(half, half, (3, 1, 1), padding=(1, 0, 0))
        self.fc = nn.Linear(half, plan.width)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(N, T, places, D)` → the same with patches by how near they are to their frame's points, and what was seen
        in its pairs, both with the class token as it was."""
        first, patches = x[:, :, :1], x[:, :, 1:]
        seen = self.seen(patches)
        near = nearness(self.points(seen), self.grid)
        counts = by_frame(near[:, :, 0], near[:, :, 1]).flatten(2).unsqueeze(-1)  # (N, T, patches, 1)
        seen = seen.reshape(-1, self.pairs, 2, CHANNELS // 2, self.grid, self.grid)
        seen = self.conv(by_frame(seen[:, :, 0], seen[:, :, 1]).transpose(1, 2))  # (N, half, T, grid, grid)
        seen = self.fc(seen.flatten(3).permute(0, 2, 3, 1))
        return torch.cat([first, patches * counts.to(x.dtype)], dim=2), torch.cat([first, seen], dim=2)

    def seen(self, patches: torch.Tensor) -> torch.Tensor:
        """Patches `(N, T, grid², D)` → `(N(T - 1), CHANNELS, grid, grid)`, pair by pair."""
        maps = patches.transpose(2, 3).reshape(-1, self.pairs + 1, self.width, self.grid, self.grid)
        both: torch.Tensor = self.interactive_block(torch.cat([maps[:, :-1], maps[:, 1:]], dim=2).flatten(0, 1))
        return both

    def points(self, seen: torch.Tensor) -> torch.Tensor:
        """Of each pair the point in the earlier frame and that in the later, x and y: `(N, T - 1, 2, 2)`, ±`REACH`."""
        points: torch.Tensor = REACH * self.prediction_block(seen).reshape(-1, self.pairs, 2, 2)
        return points


def _over_pairs(channels: int, *, separable: bool) -> nn.Sequential:
    """Both frames' patches `(N, channels, grid, grid)` → `(N, CHANNELS, grid, grid)`."""
    second = (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.BatchNorm2d(CHANNELS), nn.ReLU())
    if not separable:
        return nn.Sequential(nn.Conv2d(channels, CHANNELS, 3, padding=1), nn.BatchNorm2d(CHANNELS), nn.ReLU(), *second)
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        depthwise_conv=nn.Sequential(depthwise, nn.BatchNorm2d(channels), nn.ReLU()),
        pointwise_conv=nn.Sequential(nn.Conv2d(channels, CHANNELS, 1), nn.BatchNorm2d(CHANNELS), nn.ReLU()),
    )
    return nn.Sequential(nn.Sequential(parts), *second)


def nearness(points: torch.Tensor, grid: int) -> torch.Tensor:
    """Points `(…, 2)`, x and y of -1 to 1 → `(…, grid, grid)` float32: how much each patch counts, row by row.

    The product over both axes of 1 up to `FLAT` and `SLOPE` less for each 1 beyond, down to 0 (§3.2).
    """
    places = torch.linspace(-1, 1, grid, device=points.device)
    far = (places[:, None] - points.float()[..., None, :]).abs()  # (…, grid, 2)
    counts = (1 - SLOPE * (far - FLAT).clamp(min=0)).clamp(min=0)
    return counts[..., :, None, 1] * counts[..., None, :, 0]


def by_frame(earlier: torch.Tensor, later: torch.Tensor) -> torch.Tensor:
    """What T - 1 pairs say of their earlier and of their later frame, `(N, T - 1, …)` each → `(N, T, …)` by frames:
    those between the first and the last are in two pairs, and have the mean."""
    between = (earlier[:, 1:] + later[:, :-1]) / 2
    return torch.cat([earlier[:, :1], between, later[:, -1:]], dim=1)


class _Integration(nn.Module):
    """Frames together: a transformer over them, their mean, and the classifier if there is one."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.zeros(1, plan.frames, plan.dimension))
        self.resblocks = nn.Sequential(*(_Block(plan.dimension) for _ in range(plan.integration)))
        self.classify_head = (
            nn.Sequential(_Norm(plan.dimension), nn.Dropout(0.5), nn.Linear(plan.dimension, plan.classes))
            if plan.classes
            else None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(N, T, D)` → `(N, C)` logits, or `(N, D)`."""
        mean: torch.Tensor = (self.resblocks(x + self.positional_embedding) + x).mean(dim=1)
        if self.classify_head is None:
            return mean
        logits: torch.Tensor = self.classify_head(F.normalize(mean, dim=-1))
        return logits
