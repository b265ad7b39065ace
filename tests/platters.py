"""What a disk holds when the current goes.

A write is on the disk once its file was synced, a name once its folder was.  Of everything later some came to the disk
and some did not, each by itself, as a die decides: the worst that POSIX allows, which no file system does all at once.
What was not synced of a file is there in full, not at all, up to somewhere, or as zeros.
"""

import os
import random
import stat
from pathlib import Path


class Platter:
    """The disk below `root`; all that is there at first was synced."""

    def __init__(self, root: Path, into: Path, seed: int) -> None:
        self.root, self.into = root, into
        self.dice = random.Random(seed)
        self.files: dict[int, tuple[int, bytes]] = {}  # inode → an open file, which keeps the inode, and its content
        self.folders: dict[str, dict[str, int]] = {}  # folder → name → inode
        self.settle(str(root))
        for folder, folders, files in os.walk(root):
            for name in (*folders, *files):
                self.settle(os.path.join(folder, name))

    def settle(self, path: str) -> None:
        """What is at `path` is on the disk: the content of a file, or the names in a folder."""
        try:
            state = os.stat(path)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(state.st_mode):
            self.folders[path] = inodes(path)
            return
        kept, _ = self.files.get(state.st_ino, (-1, b""))
        if kept < 0:
            kept = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.files[state.st_ino] = kept, whole(kept)

    def lay_out(self) -> None:
        """The current goes: lay out what is left of the root."""
        self._folder(str(self.root), self.into)

    def _folder(self, folder: str, to: Path) -> None:
        to.mkdir()
        synced = self.folders.get(folder, {})
        now = inodes(folder) if os.path.isdir(folder) else {}
        for name in sorted(synced.keys() | now.keys()):
            inode = self.dice.choice([synced.get(name), now.get(name)])
            path = os.path.join(folder, name)
            if inode is None:
                continue
            if path in self.folders or (inode == now.get(name) and os.path.isdir(path)):
                self._folder(path, to / name)
            else:
                (to / name).write_bytes(self._content(inode, path if inode == now.get(name) else ""))

    def _content(self, inode: int, path: str) -> bytes:
        kept, synced = self.files.get(inode, (-1, b""))
        now = whole(kept) if kept >= 0 else Path(path).read_bytes()
        if now == synced:
            return now
        same = 0
        while synced[same : same + 1] == now[same : same + 1] != b"":
            same += 1
        somewhere = self.dice.randint(same, max(same, len(now)))
        return self.dice.choice(
            [
                synced,
                now,
                now[:somewhere],
                now[:same] + bytes(len(now) - same),
                now[:somewhere] + bytes(len(now) - somewhere),
            ]
        )


def inodes(folder: str) -> dict[str, int]:
    with os.scandir(folder) as found:
        return {entry.name: entry.inode() for entry in found}


def whole(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)
