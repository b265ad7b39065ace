"""A tiny tower of open_clip that learns, on the spot, what colours are called."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import open_clip
import torch
import towers
from safetensors.torch import save_file

COLOURS = {name: value for name, value in fakes.COLOURS.items() if name in ("red", "green", "blue", "yellow")}
SAID = ("{}", "a {} picture", "something {}", "all of it is {}")
STEPS = 150
CONFIG: dict[str, Any] = {**towers.CLIP, "text_cfg": {**towers.CLIP["text_cfg"], "width": 32}}
"""Wide enough to tell red from yellow."""


def trained(folder: Path, called: Mapping[str, str] | None = None) -> Path:
    """A folder that the encoder `openclip` reads.  `called` gives colours other names than their own."""
    names = list(COLOURS)
    said = [(called or {}).get(name, name) for name in names]
    model = towers.openclip_folder(folder, CONFIG)
    tokenize = open_clip.tokenizer.SimpleTokenizer(context_length=CONFIG["text_cfg"]["context_length"])
    draw = np.random.default_rng(1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so little is not worth waking others for
    model.train()
    model.token_embedding.requires_grad_(False)  # 49,408 words as they were drawn will do, and are most of the work
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=2e-3)
    for _ in range(STEPS):
        shade = draw.uniform(0.5, 1, (len(names), 1)) * np.array([COLOURS[name] for name in names]) / 255
        pixels = shade[:, :, None, None] + draw.normal(0, 0.05, (len(names), 3, 32, 32))
        pictures = torch.tensor((pixels.clip(0, 1) - 0.5) / 0.5, dtype=torch.float32)
        texts = tokenize([str(draw.choice(SAID)).format(name) for name in said])
        seen, read = model.encode_image(pictures, normalize=True), model.encode_text(texts, normalize=True)
        logits, right = 15 * seen @ read.T, torch.arange(len(names))
        loss = torch.nn.functional.cross_entropy(logits, right) + torch.nn.functional.cross_entropy(logits.T, right)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.set_num_threads(threads)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder
