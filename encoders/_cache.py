"""Where this machine keeps what can be had again: converted weights, and models that were pulled."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`REELSEEK_CACHE`, else the XDG cache of this user."""
    chosen = os.environ.get("REELSEEK_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reelseek"
