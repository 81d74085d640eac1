"""Work ahead in a thread: decoding goes on while networks compute."""

from collections.abc import Generator
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")

SECONDS_TO_STOP = 5.0
"""How long the end waits for the thread: a network stream may be silent for ever."""


class _End:
    """What the thread hands over last."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def prefetch(items: Generator[Item, None, None], depth: int) -> Generator[Item, None, None]:
    """Run a generator in a thread of its own, at most `depth` items ahead.

    Parameters
    ----------
    items : generator
        Runs, and is closed, in the thread.
    depth : int
        Items that may wait.

    Yields
    ------
    item
        The same items in the same order; the generator's exceptions are raised here.
    """
    waiting: Queue[Item | _End] = Queue(depth)
    stopped = Event()

    def hand_over(item: Item | _End) -> None:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return
            except Full:
                continue

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                hand_over(item)
                if stopped.is_set():
                    break
            items.close()
        except BaseException as caught:
            error = caught
        hand_over(_End(error))

    thread = Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = waiting.get(timeout=1.0)  # with a timeout, so that signals are served
            except Empty:
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stopped.set()
        thread.join(SECONDS_TO_STOP)
