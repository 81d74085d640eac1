"""Where the time goes: seconds by stage of a pipeline."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up the time that each stage takes. Stages may run in several threads, each stage in one of them.

    Parameters
    ----------
    synchronize : callable, optional
        Waits until a device has done its work, where that goes on by itself; called around stages that ask
        for it.
    clock : callable
        Gives seconds, of which differences count.

    Attributes
    ----------
    seconds : defaultdict of float
        Time by stage.
    runs : Counter
        How often each stage ran.
    """

    def __init__(
        self, synchronize: Callable[[], None] | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.runs: Counter[str] = Counter()
        self._synchronize = synchronize
        self._clock = clock

    @contextmanager
    def __call__(self, stage: str, *, on_device: bool = False) -> Iterator[None]:
        """Count the time of a ``with`` block towards a stage.

        Parameters
        ----------
        stage : str
            Its name.
        on_device : bool
            Whether the block's work goes on on the device when the block is left.
        """
        started = self._clock()
        try:
            yield
        finally:
            if on_device and self._synchronize is not None:
                self._synchronize()
            self.seconds[stage] += self._clock() - started
            self.runs[stage] += 1
