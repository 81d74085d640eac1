"""What is wrong with a stream: which frames are not whole, which are not shown, and what became of each packet."""

import logging
from dataclasses import dataclass, field
from fractions import Fraction

from arseg.codec.display import AS_CODED, Display

LOG = logging.getLogger(__name__)

MAX_MESSAGES = 5
"""Damaged places that are reported one by one; all are counted."""

MAX_REORDERED = 64
"""Packets after which a frame that has not come will not come: no codec reorders more."""


@dataclass(eq=False)
class Origin:
    """The packet that a frame was decoded from; `origin_of` returns it."""

    number: int
    """Place of the packet in the stream, from 0."""
    num_bytes: int
    holds_frame: bool
    """Whether it has a frame of its own, as far as its headers tell."""
    is_cut: bool
    """Whether the container wants it decoded, but not shown: an edit list cuts it away."""
    corner: tuple[int, int] | None = None
    """Column and row of the coded frame at which the displayed one ends, where headers say it."""
    is_disposable: bool = False
    """Whether no other frame may refer to its frame, where a reader notes that."""
    pixel_aspect: Fraction | None = None
    """Width of a pixel divided by its height, where that is said."""
    display: Display = AS_CODED
    """How its frame is to be shown."""
    fails: bool = False
    """Whether the decoder refuses it."""
    is_damaged: bool = False
    """Whether its frame may be wrong: it is damaged itself, or depends on one that is."""
    section: int = 0
    """Number of its section (`arseg.codec.sections`)."""


@dataclass
class Damage:
    """What is not whole in a stream, as far as it has been read."""

    num_lost: int = 0
    """Frames that the decoder does not show: they cannot be decoded, or refer to frames that are not there."""
    num_damaged: int = 0
    """Frames that are shown and may be wrong: parts of them are guessed, or they depend on such frames."""
    num_cut: int = 0
    """Frames that the container's edit list cuts away: they are decoded and not shown."""
    num_places: int = 0
    """Places where something was wrong; a place ends at the next keyframe."""
    messages: list[str] = field(default_factory=list)
    """What was wrong at the first few of them."""
    ended_early: str = ""
    """Why nothing could be read from some place on, if so."""


class Account:
    """Knows of each packet what became of its frame, and which frames depend on damaged ones.

    A damaged packet makes all frames doubtful that are decoded after it, up to the next keyframe.
    """

    def __init__(self) -> None:
        self.damage = Damage()
        self.num_packets = self.num_decoded = self.num_shown = 0
        self._num_with_frames = self._num_without_frame = 0
        self._pending: dict[int, Origin] = {}
        self._damaged: list[int] = []
        """Numbers of damaged packets that frames to come may depend on."""
        self._is_in_place, self._last_place = False, -MAX_REORDERED - 1
        self._keyframe = -1
        self._refresh: int | None = None

    def send(self, num_bytes: int, *, holds_frame: bool, is_cut: bool, corner: tuple[int, int] | None) -> Origin:
        """Enter the next packet, with what `Origin` says of it."""
        origin = Origin(self.num_packets, num_bytes, holds_frame, is_cut, corner)
        self.num_packets += 1
        self._pending[origin.number] = origin
        if len(self._pending) > MAX_REORDERED:
            self._give_up(next(iter(self._pending)))
        return origin

    def note(self, origin: Origin, message: str) -> None:
        """Note that a packet is damaged, and what is wrong with it."""
        self._damaged.append(origin.number)
        if not self._is_in_place:
            self._is_in_place = True
            self._open_place(origin.number, f"frame {origin.number} in decode order: {message}")

    def arrive(self, origin: Origin) -> None:
        """Enter that a frame has been decoded."""
        self.num_decoded += 1
        self._num_with_frames += self._pending.pop(origin.number, None) is not None

    def is_pending_before(self, origin: Origin) -> bool:
        """Whether a frame that precedes this one in decode order is still to come."""
        return any(number < origin.number and not sent.fails for number, sent in self._pending.items())

    def mark(self, origin: Origin, *, is_keyframe: bool, is_intra: bool) -> None:
        """Mark a frame, in display order, as damaged if it is, or may depend on one that is.

        A keyframe that is not intra-coded begins to refresh the picture block by block, and has done so by the next.
        """
        if is_keyframe and is_intra:
            self._keyframe, self._refresh = origin.number, None
        elif is_keyframe:
            if self._refresh is not None:
                self._keyframe = self._refresh
            self._refresh = origin.number
        self._damaged = [number for number in self._damaged if number >= self._keyframe]
        origin.is_damaged = any(number <= origin.number for number in self._damaged)
        self._is_in_place &= bool(self._damaged)

    def show(self, *, is_damaged: bool) -> None:
        """Enter that a decoded frame has been shown."""
        self.num_shown += 1
        self.damage.num_damaged += is_damaged

    def finish(self) -> None:
        """Settle what is pending at the end of the stream.

        Frames that were decoded and not shown, or a packet of which nothing is known, are a mistake of arseg.
        """
        for number in list(self._pending):
            self._give_up(number)
        settled = self._num_with_frames + self._num_without_frame + self.damage.num_lost + self.damage.num_cut
        if self.num_shown != self.num_decoded or settled != self.num_packets:
            raise AssertionError(
                f"of {self.num_packets} compressed frames, {settled} are accounted for; of {self.num_decoded} decoded "
                f"frames, {self.num_shown} were shown: arseg has lost some. Please report this, with the video"
            )

    def _give_up(self, number: int) -> None:
        """Settle a packet whose frame has not come."""
        origin = self._pending.pop(number)
        if origin.is_cut:
            self.damage.num_cut += 1
        elif origin.fails or origin.holds_frame:
            self.damage.num_lost += 1
            if number > self._last_place + MAX_REORDERED:  # otherwise it is most likely known why
                words = "is not shown: it refers to frames that are not there"
                self._open_place(number, f"frame {number} in decode order {words}")
        else:
            self._num_without_frame += 1

    def _open_place(self, number: int, message: str) -> None:
        self._last_place = number
        self.damage.num_places += 1
        if len(self.damage.messages) < MAX_MESSAGES:
            self.damage.messages.append(message)
            LOG.warning("%s", message)
