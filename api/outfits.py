"""What jobs are carried out with, kept from one job to the next.

To read the models of the `offline` pack takes two seconds, and indexing a short film less than one; what is read and
given back with each job also leaves holes in memory that nothing else fits into (docs/experiments.md).
"""

from dataclasses import dataclass, field

from api import parts
from indexer.encoding import Encoders
from indexer.recipe import Recipe


@dataclass(slots=True)
class Outfit:
    """The encoders of the recipe that was wanted last.  One job at a time: they take one batch after the other."""

    _key: tuple[Recipe, parts.ModelChoice] | None = None
    _held: Encoders | None = field(default=None, repr=False)

    def encoders(self, recipe: Recipe, models: parts.ModelChoice) -> Encoders:
        """As `parts.encoders`; those that lack something are looked for again each time, as it may have come.

        Raises:
            MissingExtra, WeightsError, DeviceError: as that.
        """
        if self._held is None or self._key != (recipe, models) or self._held.missing:
            self.put_away()  # before others come: they need the room
            self._key, self._held = (recipe, models), parts.encoders(recipe, models)
        return self._held

    def put_away(self) -> bool:
        """Keep nothing any more (models that somebody chose are kept by `parts`, too); False: nothing was kept."""
        kept, self._held = self._held is not None, None
        return kept
