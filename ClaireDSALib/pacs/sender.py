"""Takes results from the queue to one destination."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ClaireDSALib.dsa.decode_errors import UnusableError
from ClaireDSALib.pacs.destination import Answer, Destination, Outgoing
from ClaireDSALib.pacs.identity import short_key
from ClaireDSALib.pacs.metrics import Metrics
from ClaireDSALib.pacs.outbox import Delivery, Outbox
from ClaireDSALib.pacs.push import batches
from ClaireDSALib.pacs.settings import ListenSettings
from ClaireDSALib.pacs.spool import Spool

_LOG = logging.getLogger(__name__)
_MOST_AT_ONCE = 50
_DAY_S = 86400.0


class Sender:
    """Sends until the destination has everything.

    Parameters
    ----------
    destination : Destination
    outbox : Outbox
    spool : Spool
    metrics : Metrics
    settings : ListenSettings
    is_stopping : callable
        True when the service ends; a failure then is not counted.
    """

    def __init__(
        self,
        destination: Destination,
        outbox: Outbox,
        spool: Spool,
        metrics: Metrics,
        settings: ListenSettings,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._destination, self._outbox, self._spool = destination, outbox, spool
        self._metrics, self._settings, self._is_stopping = metrics, settings, is_stopping

    def send_next(self) -> bool:
        """Send what is due of one study; False when nothing is."""
        due = self._outbox.next_deliveries(self._destination.name, _MOST_AT_ONCE)
        if not due:
            return False
        waiting = {one.sop_instance_uid: one for one in due}
        objects = [self._prepare(one) for one in due]
        for batch in batches([one for one in objects if one is not None]):
            for answer in self._send(batch):
                delivery = waiting.pop(answer.sop_instance_uid, None)
                if delivery is not None:
                    self._note(delivery, answer)
            for one in batch:  # a destination that forgets to answer must not make us forget
                forgotten = waiting.pop(one.identity.sop_instance_uid, None)
                if forgotten is not None:
                    self._later(forgotten, Answer(forgotten.sop_instance_uid, "postponed", "no answer", in_doubt=True))
        return True

    def _send(self, batch: list[Outgoing]) -> list[Answer]:
        try:
            return self._destination.send(batch)
        except Exception as problem:  # noqa: BLE001 - an unforeseen failure is a failure to be repeated
            _LOG.exception("sending to %s failed in an unforeseen way", self._destination.name)
            reason = f"{type(problem).__name__}: {problem}"
            return [Answer(one.identity.sop_instance_uid, "postponed", reason, in_doubt=True) for one in batch]

    def _prepare(self, one: Delivery) -> Outgoing | None:
        """Read the object; one that may have arrived before is asked for first."""
        try:
            outgoing = Outgoing.of(self._spool.folder / one.path)
        except (UnusableError, OSError) as problem:
            self._refuse(one, f"the file cannot be read: {problem}")
            return None
        if one.in_doubt and self._destination.has(outgoing):
            self._outbox.mark_sent(one, self._destination.name)
            self._metrics.count("results_sent_total", destination=self._destination.name)
            return None
        return outgoing

    def _note(self, one: Delivery, answer: Answer) -> None:
        if answer.verdict == "sent":
            self._outbox.mark_sent(one, self._destination.name)
            self._metrics.count("results_sent_total", destination=self._destination.name)
        elif answer.verdict == "refused":
            self._refuse(one, answer.reason)
        else:
            self._later(one, answer)

    def _refuse(self, one: Delivery, reason: str) -> None:
        self._outbox.mark_refused(one, self._destination.name, reason)
        self._metrics.count("results_refused_total", destination=self._destination.name)
        _LOG.error("study %s: a result will not be taken: %s", short_key(one.study_uid), reason)

    def _later(self, one: Delivery, answer: Answer) -> None:
        age_days = (time.time() - one.created_at) / _DAY_S
        if age_days > self._settings.give_up_sending_days:
            self._refuse(one, f"given up after {age_days:.1f} days: {answer.reason}")
            return
        wait_s = max(self._settings.backoff.wait_s(one.failures + 1), answer.retry_after_s)
        stopping = self._is_stopping()
        self._outbox.send_later(
            one, self._destination.name, wait_s, answer.reason, in_doubt=answer.in_doubt, count=not stopping
        )
        self._metrics.count("sending_failures_total", destination=self._destination.name)
        _LOG.warning("study %s: sent again in %.0f s: %s", short_key(one.study_uid), wait_s, answer.reason)
