"""Weights into a network, or one line that says why they do not fit, or why a library refuses them."""

from collections.abc import Collection, Mapping
from pathlib import Path

import torch

from retriever.errors import WrongCheckpoint

NAMED = 3
"""Weights that a message names; of the others it has the count."""


def fill(module: torch.nn.Module, weights: Mapping[str, torch.Tensor], file: Path, name: str) -> None:
    """Copy weights into the network: all that it has, and no others.

    Args:
        file, name: of the weights and of the architecture, for the message.

    Raises:
        WrongCheckpoint: they are of another architecture.
    """
    wanted = module.state_dict()
    missing = sorted(wanted.keys() - weights.keys())
    unknown = sorted(weights.keys() - wanted.keys())
    complaints = [
        f"it lacks {_few(missing)}" if missing else "",
        f"it has {_few(unknown)} besides" if unknown else "",
        _sizes(wanted, weights),
    ]
    said = "; ".join(filter(None, complaints))
    if said:
        raise WrongCheckpoint(f"{file} is of another architecture than {name}: {said}; name the right one")
    module.load_state_dict(dict(weights))


def _sizes(wanted: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> str:
    others = [key for key, value in wanted.items() if key in weights and weights[key].shape != value.shape]
    if not others:
        return ""
    first = others[0]
    more = f", and {len(others) - 1} more" if len(others) > 1 else ""
    return f"its {first} is {_shape(weights[first])}, wanted {_shape(wanted[first])}{more}"


def _shape(tensor: torch.Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "one number"


def _few(names: Collection[str]) -> str:
    listed = ", ".join(list(names)[:NAMED])
    return f"{listed} and {len(names) - NAMED} more" if len(names) > NAMED else listed


def first_line(error: Exception) -> str:
    """Of what a library says, which may be a page."""
    return str(error).strip().partition("\n")[0]
