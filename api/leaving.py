"""Whoever asks may hang up: then nobody goes on for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from threading import Event

from fastapi import Request
from starlette.requests import ClientDisconnect


class Heeded:
    """Is asked now and then by the thread that works."""

    def __init__(self) -> None:
        self.gone = Event()

    def __call__(self, progress: float = 0.0) -> None:
        """
        Raises:
            ClientDisconnect: they hung up.
        """
        if self.gone.is_set():
            raise ClientDisconnect


@asynccontextmanager
async def heeding(request: Request) -> AsyncIterator[Heeded]:
    """Looks meanwhile whether whoever sent a request, which has no body, is there still."""
    heeded = Heeded()

    async def listen() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        heeded.gone.set()

    listening = asyncio.create_task(listen())
    try:
        yield heeded
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
