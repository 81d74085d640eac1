"""Show how far a long loop has come: a bar on a terminal, plain log lines everywhere else."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

logger = logging.getLogger(__name__)

LOG_INTERVAL_SECONDS = 10.0
"""Least time between two log lines of one loop."""


def track(
    iterable: Iterable[Item],
    description: str,
    total: int | None = None,
    *,
    status: Callable[[], str] | None = None,
) -> Iterator[Item]:
    """Yield the items of `iterable` and report how many are done, of `total` if its length is unknown.

    On a terminal this is a tqdm bar. Elsewhere (a log file, a cluster job, a test) a bar is noise: there it
    is a log line at most every ten seconds, and one at the end. `status` returns more to say beside the numbers.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if sys.stderr.isatty():
        with tqdm(desc=description, total=total) as bar:
            for item in iterable:
                yield item
                if status is not None:
                    bar.set_postfix_str(status(), refresh=False)
                bar.update()
        return
    started = last_report = time.monotonic()
    done = 0
    for item in iterable:
        yield item
        done += 1
        now = time.monotonic()
        if now - last_report >= LOG_INTERVAL_SECONDS:
            more = f" ({status()})" if status is not None else ""
            logger.info("%s: %d/%s in %.0f s%s", description, done, total or "?", now - started, more)
            last_report = now
    logger.info("%s: %d done in %.1f s", description, done, time.monotonic() - started)
