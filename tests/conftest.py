"""What many tests share."""

import os
from pathlib import Path

import pytest

SHARED_MEDIA = Path(os.environ.get("REELSEEK_SHARED_MEDIA", Path(__file__).parents[2] / "shared" / "media"))


@pytest.fixture(scope="session")
def shared_media() -> Path:
    """The folder of real labelled clips that lies beside a developer's checkout; absent elsewhere."""
    if not (SHARED_MEDIA / "manifest.jsonl").is_file():
        pytest.skip("shared media: the folder of labelled clips is not beside this checkout")
    return SHARED_MEDIA
