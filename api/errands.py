"""What takes as long as others do, a server on the web or a slow disk: media are fetched, files are looked for.

Of one key there are fewer at a time than are carried out, so that those of somebody else begin at once.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from api.seats import Seats
from api.turns import Turns

P = ParamSpec("P")
T = TypeVar("T")


class Errands(Turns):
    """At most `threads` carried out and `waiting` in line, and of one caller `each` of both together."""

    def __init__(self, threads: int, waiting: int, each: int) -> None:
        super().__init__("errands", threads, waiting)
        self._seats = Seats(self.name, threads + waiting, each, f"has {each} of these on their way already")

    async def run(self, who: str, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """What `work` returns.

        Raises:
            Busy: the line is full.
            Problem: this caller has as many on their way as one may have (429); without keys nobody is told apart.
        """
        leave = self._seats.take(who)
        try:
            return await self.take(work, *args, **named)
        finally:
            leave()
