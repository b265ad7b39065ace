"""Tiny real models of ILA, saved as their authors save them, beside the names of their classes."""

from pathlib import Path

import torch
from torch import nn

from encoders._ila import Network, Plan

NAMES = ("Pushing something right", "Pushing something left", "Holding something")
PLAN = Plan(
    frames=4, patch=8, grid=4, width=128, layers=2, dimension=128, integration=1, separable=False, classes=len(NAMES)
)
"""As those of Something-Something v2 are laid out, with two heads a block."""
KINETICS = Plan(
    frames=4,
    patch=8,
    grid=4,
    width=64,
    layers=1,
    dimension=64,
    integration=1,
    separable=True,
    classes=0,
    context=16,
    text_width=128,
    text_layers=1,
)
"""As those of Kinetics-400 are laid out: with a text tower."""
FILE, LABELS = "best.pth", "labels.csv"


def network(plan: Plan = PLAN, *, seed: int = 0) -> Network:
    """As nobody trained it, but with nothing left at zero: every weight has a say."""
    torch.manual_seed(seed)
    made = Network(plan).eval()
    for name, weight in made.named_parameters():
        if weight.dim() == 1 or "embedding" in name or "proj" in name.rpartition(".")[2]:
            nn.init.normal_(weight, 1.0 if ".ln_" in name and name.endswith("weight") else 0.0, 0.2)
    for name, running in made.named_buffers():
        if name.endswith("running_mean"):
            nn.init.normal_(running, 0, 0.1)
        elif name.endswith("running_var"):
            nn.init.uniform_(running, 0.5, 1.5)
    return made


def save(made: nn.Module, file: Path) -> None:
    """As their trainer does, with what else it keeps."""
    torch.save({"model": made.state_dict(), "epoch": 29, "max_accuracy": 65.0, "optimizer": {"state": {}}}, file)


def folder(path: Path, plan: Plan = PLAN, made: nn.Module | None = None) -> nn.Module:
    """A folder with a checkpoint and, for a classifier, `labels.csv`; returns its model."""
    path.mkdir(parents=True, exist_ok=True)
    model = network(plan) if made is None else made
    save(model, path / FILE)
    if plan.classes:
        rows = [f"{number},{name}" for number, name in enumerate(NAMES[: plan.classes])]
        (path / LABELS).write_text("\n".join(["id,name", *rows, ""]))
    return model
