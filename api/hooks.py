"""Who is told of what: hooks as people set them, and the messages that become of what happens."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from secrets import token_hex
from time import time
from typing import Any

from api import remedies, schemas, signing, wire
from api.indexing import Asked
from api.outward import NotAllowed, Rules, Target
from indexer import jobs
from retriever.errors import BadSettings, NoSuchJob, ReelseekError, WrongFormat
from retriever.notices import Delivery, Happening, Hook, Kind
from retriever.ports import Store
from retriever.types import Filter

JOB = frozenset({Kind.JOB_DONE, Kind.JOB_FAILED, Kind.JOB_CANCELLED})
"""What a hook of one job hears of."""
EVENTS = JOB | {Kind.MEDIA_INDEXED, Kind.MEDIA_DELETED}
MOST = 100
"""Hooks of one library that are not of single jobs."""


class NoSuchHook(ReelseekError):
    """No hook has this id."""


def make(
    url: str,
    rules: Rules,
    *,
    secret: str = "",
    events: Sequence[str] = (),
    collection: str = "",
    owner: str = "",
) -> Hook:
    """A new hook; without events it hears of all.  It is kept by whoever asked for it.

    Raises:
        BadSettings: the address cannot be told, or the secret or an event is none.
    """
    judged(url, rules)
    if secret:
        signing.key_of(secret)
    heard = kinds(events) if events else EVENTS
    return Hook(token_hex(8), url, secret or signing.secret(), heard, collection, "", owner, True, time())


def of_job(asked: wire.Told, rules: Rules, owner: str) -> Hook | None:
    """The hook of a job that is being asked for, if it is to have one; whoever registers the job says which that is.

    Raises:
        BadSettings: as `make`, or a secret comes without an address.
    """
    if asked.webhook is None:
        if asked.webhook_secret:
            raise BadSettings("webhook_secret comes without webhook, the address that is to be told")
        return None
    return make(asked.webhook, rules, secret=asked.webhook_secret, events=tuple(JOB), owner=owner)


def shown(hook: Hook | None, asked: wire.Told) -> dict[str, Any] | None:
    """What is answered of it; a secret that came with the request does not go back."""
    return None if hook is None else {"id": hook.id, "secret": None if asked.webhook_secret else hook.secret}


def judged(url: str, rules: Rules) -> None:
    """
    Raises:
        BadSettings: nobody is told at such an address.  Where a name leads is looked up when something is sent.
    """
    try:
        target = Target.of(url)
        try:
            address = ip_address(target.host)
        except ValueError:
            return
        if not rules.allow(address, target.port):
            raise NotAllowed(
                f"{target.shown} is no public address, or its port is not one of the web; whoever runs this server can "
                "name others (allow_networks)"
            )
    except NotAllowed as error:
        raise BadSettings(f"webhook: {error}") from error


def kinds(events: Sequence[str]) -> frozenset[str]:
    """
    Raises:
        BadSettings: nothing like this happens.
    """
    if unknown := sorted(set(events) - EVENTS):
        raise BadSettings(f"there is no event {unknown[0]!r}; there are {', '.join(sorted(EVENTS))}")
    return frozenset(events)


def named(store: Store, id: str) -> Hook:
    """
    Raises:
        NoSuchHook: there is none.
    """
    for hook in store.catalog.notices.hooks():
        if hook.id == id:
            return hook
    raise NoSuchHook(f"{id} is no webhook of this library; GET /v1/webhooks lists them")


def ping(store: Store, hook: Hook) -> Delivery:
    """A message about nothing, on its way."""
    made = _message(hook, Happening(token_hex(8), Kind.PING, {}, time()), {"webhook": {"id": hook.id}})
    store.catalog.notices.tell(None, [made])
    return made


def tell(store: Store, happening: Happening) -> bool:
    """Make the messages about what happened; False: another process did."""
    found = _Told.of(store, happening)
    heard = [hook for hook in store.catalog.notices.hooks() if found and found.concerns(hook, happening)]
    messages = [_message(hook, happening, found.data) for hook in heard] if found else []
    return store.catalog.notices.tell(happening, messages)


@dataclass(frozen=True, slots=True)
class _Told:
    """What is known of a thing that happened."""

    collection: str
    data: dict[str, Any]

    @classmethod
    def of(cls, store: Store, happening: Happening) -> "_Told | None":
        """None: it is as if it had not been, by now."""
        about = dict(happening.about)
        if happening.kind in JOB:
            try:
                found = jobs.named(store, about["id"])
            except NoSuchJob:
                return None
            return cls(_collection(found.record.asked), {"job": remedies.job(found)})
        if happening.kind == Kind.MEDIA_DELETED:
            return cls(about["collection"], {"media": about})
        with store.snapshot() as snapshot:
            media = snapshot.media(Filter(media=frozenset({about["id"]})))
        return cls(media[0].metadata.collection, {"media": schemas.one_media(media[0])}) if media else None

    def concerns(self, hook: Hook, happening: Happening) -> bool:
        if not hook.active or happening.kind not in hook.events or happening.at < hook.created:
            return False
        if hook.job:
            return hook.job == happening.about.get("id")
        return hook.collection in ("", self.collection)


def _collection(asked: str) -> str:
    try:
        metadata = Asked.of(asked).metadata
    except WrongFormat:  # of a newer version
        return ""
    return metadata.collection if metadata else ""


def _message(hook: Hook, happening: Happening, data: dict[str, Any]) -> Delivery:
    at = datetime.fromtimestamp(happening.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = json.dumps({"type": happening.kind, "timestamp": at, "data": data})
    # The same from whichever process: an id that comes twice is one message.
    return Delivery(f"msg_{happening.id}{hook.id}", hook.id, happening.kind, body, time(), due=time())
