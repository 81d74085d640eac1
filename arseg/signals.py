"""Signals that ask a program to stop, noted so that it can first save what it has."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

LOG = logging.getLogger(__name__)


@contextmanager
def noted_signals(*numbers: signal.Signals, until: str) -> Iterator[list[str]]:
    """Yield a list to which the names of signals are added, instead of what they do otherwise.

    `until` says in a log line what ends first. A second Ctrl-C interrupts at once.
    """
    received: list[str] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(signal.Signals(number).name)
        LOG.info("%s: stopping after %s", received[-1], until)

    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
