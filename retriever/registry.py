"""The folder is the list: every file of a plug-in folder is a plug-in, and its file name is its name.

stores = Registry("retriever.stores")
stores.names()               # ('local', 'memory'): nothing is imported to know this
store = stores.load("local").build(path)
"""

import difflib
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from retriever.errors import MissingExtra, UnknownPlugin

OURS = frozenset({"retriever", "encoders", "indexer", "api", "data_manifests"})


@dataclass(frozen=True, slots=True)
class Registry:
    """The plug-ins of one package folder.  A leading underscore marks a helper, which is none."""

    package: str

    def folder(self) -> Path:
        spec = find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise UnknownPlugin(f"{self.package} is not an installed package: install reelseek again")
        return Path(next(iter(spec.submodule_search_locations)))

    def names(self) -> tuple[str, ...]:
        """The names of all plug-ins here, sorted, none of them imported."""
        return tuple(sorted(file.stem for file in self.folder().glob("*.py") if not file.stem.startswith("_")))

    def load(self, name: str) -> ModuleType:
        """Import one plug-in.

        Raises:
            UnknownPlugin: no such file; the message lists the known names.
            MissingExtra: the plug-in's own library is not installed.
        """
        names = self.names()
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UnknownPlugin(f"{self.package} has no {name!r}: it has {', '.join(names)}{hint}")
        try:
            return import_module(f"{self.package}.{name}")
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] in OURS:
                raise
            raise MissingExtra(f"{name} needs {error.name}: pip install 'reelseek[{name}]'") from error
