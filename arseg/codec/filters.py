"""FFmpeg's filters on decoded frames."""

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

import av.error
from av.filter.graph import Graph
from av.video.frame import VideoFrame

MIN_INTERLACED_SIDE = 12
"""Pixels: bwdif needs three samples of each plane."""


class FilterGraph:
    """A chain of filters, (name, options), for frames of one size, format and kind of colour like `example`."""

    def __init__(self, example: VideoFrame, *filters: tuple[str, str]) -> None:
        self._graph = Graph()
        self._graph.threads = 1
        source = self._graph.add(
            "buffer",
            video_size=f"{example.width}x{example.height}",
            pix_fmt=example.format.name,
            time_base="1/1",
            colorspace=str(int(example.colorspace)),
            range=str(int(example.color_range)),
        )
        middle = (self._graph.add(name, options) for name, options in filters)
        self._graph.link_nodes(source, *middle, self._graph.add("buffersink")).configure()

    def push(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """Take a frame, or the end, and yield those that are ready."""
        self._graph.vpush(frame)
        with suppress(av.error.BlockingIOError, av.error.EOFError):
            while True:
                yield self._graph.vpull()


def deinterlace(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """Yield frames of one size and format, interlaced ones made whole by FFmpeg's filter bwdif, one for one.

    Each has the time, the side data and the origin (`arseg.codec.stream.origin_of`) of the frame that it is made of.
    Frames are passed on as they are up to the first interlaced one; from there on, each waits for the next.
    """
    graph: FilterGraph | None = None
    waiting: deque[VideoFrame] = deque()
    for frame in chain(frames, [None]):
        if graph is None:
            if frame is None:
                return
            if not frame.interlaced_frame or min(frame.width, frame.height) < MIN_INTERLACED_SIDE:
                yield frame
                continue
            graph = FilterGraph(frame, ("bwdif", "mode=send_frame:deint=interlaced"))
        if frame is not None:
            waiting.append(frame)
        for whole in graph.push(frame):
            source = waiting.popleft()
            whole.pts = source.pts  # the filter counts in halves
            if source.time_base is not None:
                whole.time_base = source.time_base
            yield whole
