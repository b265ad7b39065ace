"""What frameworks keep of a moment beside its text."""

from typing import Any

from api.wire import Moment


def metadata(found: Moment) -> dict[str, Any]:
    """Plain values, as stores of documents want them."""
    return {
        "ref": found.ref,
        "path": found.media.path,
        "title": found.media.title,
        "kind": str(found.media.kind),
        "start_s": found.start_s,
        "end_s": found.end_s,
        "confidence": found.confidence,
    }
