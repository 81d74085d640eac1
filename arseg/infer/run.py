"""A segmentation from its first frame to its outputs and its summary."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from itertools import chain
from pathlib import Path
from typing import Any

from arseg.codec.video_writer import Origin
from arseg.infer.annotations import Write
from arseg.infer.report import STAGES, summarize
from arseg.infer.segment import Segmentation
from arseg.progress import track

Open = Callable[[Path, Origin], AbstractContextManager[Write]]
"""Opens an output of frames that are of some video."""


def run(
    segmentation: Segmentation, outputs: Sequence[Path], open_: Open, every: int, stop: Collection[object] = ()
) -> dict[str, Any]:
    """Write outputs of all frames, or of those before something is in `stop`; return what `summarize` does.

    `every` is that of the segmentation. Outputs are begun when the first frame is there: the video may be none, and a
    part of it empty.
    """
    num_frames, started = 0, time.monotonic()
    front_end = segmentation.front_end
    with ExitStack() as stack:
        frames = stack.enter_context(closing(iter(segmentation)))
        begun = [*_first(frames)]
        writers = [stack.enter_context(open_(path, front_end.origin)) for path in outputs if begun]
        total = None if front_end.num_frames is None else -(-front_end.num_frames // every)
        shown = track(chain(begun, frames), "frames", total, status=lambda: _shares(segmentation, started))
        for frame, labels, info in shown:
            with segmentation.watch("output"):
                for write in writers:
                    write(frame, labels, info)
            num_frames += 1
            if stop:
                break
    return summarize(segmentation, num_frames, time.monotonic() - started)


def _first(frames: Iterator[Any]) -> Iterator[Any]:
    for frame in frames:
        yield frame
        return


def _shares(segmentation: Segmentation, started: float) -> str:
    seconds = max(1e-9, time.monotonic() - started)
    spent = segmentation.watch.seconds
    return " ".join(f"{stage} {100 * spent[stage] / seconds:.0f}%" for stage in STAGES if spent[stage] > 0)
