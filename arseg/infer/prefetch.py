"""Work ahead in a thread: decoding goes on while networks compute."""

from collections.abc import Generator
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")

SECONDS_TO_STOP = 5.0
"""How long the end waits for the thread: a network stream may be silent for ever."""


class _End(NamedTuple):
    """What the thread hands over last."""

    error: BaseException | None


def prefetch(items: Generator[Item, None, None], depth: int) -> Generator[Item, None, None]:
    """Yield the items of a generator, which runs and is closed in a thread of its own, at most `depth` items ahead.

    Its exceptions are raised here, after the items before them.
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
            if not isinstance(item, _End):
                yield item
            elif item.error is not None:
                raise item.error
            else:
                return
    finally:
        stopped.set()
        thread.join(SECONDS_TO_STOP)
