"""How encoders are made in another process, or on another machine, without handing over more than plain text."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from indexer.encoding import Encoders


@dataclass(frozen=True, slots=True)
class Making:
    """A function by name, and the page that it is given: dicts, lists, strings and numbers."""

    module: str
    function: str
    page: Mapping[str, Any]

    def made(self) -> Encoders:
        """
        Raises:
            MissingExtra, WeightsError, DeviceError: as the function.
        """
        made: Encoders = getattr(import_module(self.module), self.function)(self.page)
        return made
