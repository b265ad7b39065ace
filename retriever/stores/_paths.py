"""Paths as a catalog keeps them: the bytes of the file system, whether they are text or not."""


def packed(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def unpacked(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
