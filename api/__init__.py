"""The doors: command line and Python; the one place where the parts meet.

from api import Library

with Library.open("lib/") as library:
    library.index(["clips/"])
    for moment in library.search("a parrot", limit=3):
        print(moment.media.path, moment.start_s, moment.end_s, moment.confidence)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from api.parts import ModelChoice
    from api.service import Library

__all__ = ["Library", "ModelChoice"]


def __getattr__(name: str) -> Any:
    """Both are imported when they are asked for: `reelseek --help` is not kept waiting."""
    if name == "Library":
        from api.service import Library

        return Library
    if name == "ModelChoice":
        from api.parts import ModelChoice

        return ModelChoice
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
