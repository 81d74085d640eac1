"""Where the time goes: seconds by stage of a pipeline."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up the time that each stage takes. Stages may run in several threads, each stage in one of them.

    `synchronize` waits until a device has done its work, where that goes on by itself; `clock` returns seconds.
    """

    def __init__(
        self, synchronize: Callable[[], None] | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.runs: Counter[str] = Counter()  # how often each stage ran
        self._synchronize = synchronize
        self._clock = clock

    @contextmanager
    def __call__(self, stage: str, *, on_device: bool = False) -> Iterator[None]:
        """Count the time of a block towards a stage; one `on_device` ends when the device has done its work."""
        started = self._clock()
        try:
            yield
        finally:
            if on_device and self._synchronize is not None:
                self._synchronize()
            self.seconds[stage] += self._clock() - started
            self.runs[stage] += 1
