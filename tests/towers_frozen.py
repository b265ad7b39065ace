"""A tiny real model of Frozen in Time with random weights, saved as its authors publish theirs."""

from pathlib import Path

import numpy as np
import torch
import towers

from encoders._frozen import FrozenInTime, Sizes
from retriever.types import Stretch

SIZES = Sizes(
    frames=4,
    side=32,
    patch=8,
    dim=128,
    depth=2,
    hidden=96,
    words=32,
    positions=16,
    text_dim=128,
    text_depth=2,
    text_hidden=64,
    dimension=24,
)
"""Two heads in each tower."""
FILE = "frozen.pth.tar"


class ConfigParser:
    """What the authors' checkpoints hold beside tensors: an object of their own class."""

    def __init__(self) -> None:
        self.save_dir = Path("exps") / "models"
        self.config = {"name": "tiny", "arch": {"type": "FrozenInTime"}}


def model(sizes: Sizes = SIZES) -> FrozenInTime:
    """Weights as a seed makes them, none of them zero: those that start so would hide what they are for."""
    torch.manual_seed(0)
    made = FrozenInTime(sizes).eval()
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if not name.startswith("text_model.embeddings"):
                weight += torch.randn_like(weight) * 0.1
    return made


def save(network: torch.nn.Module, file: Path, **more: torch.Tensor) -> None:
    """As their trainer leaves it after several devices."""
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"arch": "DataParallel", "epoch": 8, "state_dict": state | more, "config": ConfigParser()}, file)


def folder(path: Path, sizes: Sizes = SIZES) -> FrozenInTime:
    """The file of weights and its tokenizer's; returns the network."""
    path.mkdir(parents=True, exist_ok=True)
    towers.tokenizer(path, ends=False)
    made = model(sizes)
    save(made, path / FILE)
    return made


def stretch_of(count: int, seed: int = 0, hop: float = 0.5) -> Stretch:
    """Frames of noise, so long on show each."""
    edges = np.arange(count + 1) * hop
    return Stretch(towers.frames(count, 40, 60, seed), np.stack([edges[:-1], edges[1:]], axis=1))
