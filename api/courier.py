"""The one who tells hooks what happened: messages lie in the catalog until somebody has taken them, or too long."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import uniform
from threading import BoundedSemaphore, Event, Thread
from time import monotonic, time

from api import hooks, signing
from api.logs import tell
from api.outward import NoAnswer, NotAllowed, Rules, asked
from retriever import processes
from retriever.errors import ReelseekError
from retriever.notices import Delivery, DeliveryState, Hook
from retriever.ports import Store

LOG = logging.getLogger("reelseek.courier")
LOOK_S = 0.5
"""Seconds between two looks for what happened, in whichever process."""
SENDERS = 4
PATIENCE_S = 10.0
"""Seconds that whoever is told may take to answer."""
LEASE_S = 60.0
"""And for which a message is whoever's who took it to be sent: when that one dies, another sends it then."""
WAITS = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0)
"""Seconds between two tries of a message, which is given up after the one behind the last: some 32 hours in all."""
LONGEST_S = 86_400.0
"""The longest wait that a receiver may ask for."""
TIDY_S = 3_600.0
FEW = 50
"""Happenings that are looked at in one go."""
GONE = 410
"""What a receiver answers that wants to hear nothing more."""


class Courier:
    """Several processes may serve one library: each message is sent by one of them."""

    def __init__(self, store: Store, rules: Rules) -> None:
        self._store, self._rules = store, rules
        self._over, self._called = Event(), Event()
        self._free = BoundedSemaphore(SENDERS)
        self._crew = ThreadPoolExecutor(SENDERS, thread_name_prefix="courier")
        self._worker = Thread(target=self._work, name="courier", daemon=True)
        self._tidied = monotonic()

    def start(self) -> None:
        self._worker.start()

    def call(self) -> None:
        """There is something to be sent."""
        self._called.set()

    def close(self) -> None:
        """What is being sent is sent; the rest waits for whoever serves next."""
        self._over.set()
        self._called.set()
        if self._worker.is_alive():
            self._worker.join()
        self._crew.shutdown()

    def _work(self) -> None:
        said = ""
        while not self._over.is_set():
            try:
                self._tell()
                self._send_all()
                said = ""
                if monotonic() - self._tidied > TIDY_S:
                    self._tidied = monotonic()
                    self._store.catalog.notices.tidy()
            except (ReelseekError, OSError) as error:  # the library is busy, its disk full: not for ever
                if said != (said := str(error)):
                    tell(LOG, logging.WARNING, "webhooks wait", reason=said)
            except Exception:  # whatever it is, the others are not to be silenced for good
                LOG.exception("webhooks")
            self._called.wait(LOOK_S)
            self._called.clear()

    def _tell(self) -> None:
        for happening in self._store.catalog.notices.happenings(FEW):
            try:
                hooks.tell(self._store, happening)
            except (ReelseekError, OSError):
                raise
            except Exception:  # it would come first again and again
                LOG.exception("nobody is told of %s", happening)
                self._store.catalog.notices.tell(happening, [])

    def _send_all(self) -> None:
        while not self._over.is_set() and self._free.acquire(blocking=False):
            found = None
            try:
                found = self._store.catalog.notices.claim(processes.me(), LEASE_S)
            finally:
                if found is None:
                    self._free.release()
            if found is None:
                return
            self._crew.submit(self._send, *found)

    def _send(self, delivery: Delivery, hook: Hook) -> None:
        try:
            status, told, wait = _sent(delivery, hook, self._rules)
            self._settle(delivery, hook, status, told, wait)
        except Exception:  # it is sent again when its lease has run out
            LOG.exception("webhook %s, message %s", hook.id, delivery.id)
        finally:
            self._free.release()
            self._called.set()

    def _settle(self, delivery: Delivery, hook: Hook, status: int, told: str, wait: float) -> None:
        notices, tries, now = self._store.catalog.notices, delivery.tries + 1, time()
        fared = replace(delivery, tries=tries, status=status, told=told, due=now)
        if 200 <= status < 300:
            fared = replace(fared, state=DeliveryState.DELIVERED)
        elif status == GONE or tries > len(WAITS):
            fared = replace(fared, state=DeliveryState.FAILED, told=f"{told}; given up")
        else:
            usual = WAITS[tries - 1] * uniform(0.9, 1.1)  # so that not all come back in one moment
            fared = replace(fared, due=now + max(usual, min(wait, LONGEST_S)))
        if status == GONE:  # said by whoever was at the address that was asked, and of no other
            notices.change_hook(hook.id, lambda now: replace(now, active=now.active and now.url != hook.url))
        notices.settle(fared)
        level = logging.WARNING if fared.state is DeliveryState.FAILED else logging.INFO
        named = {"webhook": hook.id, "message": delivery.id, "about": delivery.kind}
        tell(LOG, level, "webhook", **named, state=str(fared.state), tries=tries, reason=fared.told)


def _sent(delivery: Delivery, hook: Hook, rules: Rules) -> tuple[int, str, float]:
    """The status that came back, how that went, and for how many seconds the receiver wants to be left alone."""
    body = delivery.body.encode()
    told = signing.headers(hook.secret, delivery.id, int(time()), body) | {"Content-Type": "application/json"}
    try:
        with asked("POST", hook.url, rules, limit_s=PATIENCE_S, headers=told, body=body, hops=0) as answer:
            status, said = answer.status, answer.headers.get("Retry-After", "")
    except (NotAllowed, NoAnswer) as error:
        return 0, str(error), 0.0
    how = "taken" if 200 <= status < 300 else "not taken"
    if 300 <= status < 400:
        how = "a redirection, which is not followed"
    wait = float(said) if said.isascii() and said.isdigit() and len(said) < 7 else 0.0
    return status, f"{status}, {how}", wait
