"""Synthetic media for tests of indexing: a few coloured scenes and a tone, described in a line of JSON."""

import json
from pathlib import Path

PAINTS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255), "black": (0, 0, 0)}


def write_reel(path: Path, *colours: str, seconds: float = 3.0, tone: bool = True, **misbehave: float) -> Path:
    """A media of one scene a colour; `crash_at`, `hang_at` and `break_at` make it misbehave at that second."""
    script = {
        "size": [64, 48],
        "fps": 10,
        "scenes": [{"seconds": seconds, "colour": PAINTS[colour]} for colour in colours],
        "tones": [{"start": 0.5, "end": 1.5}] if tone else [],
        **misbehave,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(script))
    return path
