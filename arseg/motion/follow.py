"""Follow the frames of a video back to its keyframes, in the order in which they are decoded (docs/motion.md)."""

from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from arseg.codec.frame import (
    BLOCK_SIZE,
    ENCODE_AGAIN,
    NO_REFERENCE,
    UNKNOWN_REFERENCE,
    DecodedFrame,
    FrameMotion,
    num_blocks,
)
from arseg.codecs import MAX_REFERENCES
from arseg.errors import MotionError
from arseg.motion.compose import QUARTERS, MotionComposer, check_size

KEYFRAME_SLOT = 0
"""Of the composer, where the keyframe's field is: nothing has moved there."""

NO_SLOT = -1

NUM_SLOTS = 2 * MAX_REFERENCES + 2
"""The keyframe's, those of frames that may be referred to, and those of as many that are still to be shown."""

GUESS = 1 << 12
"""Steps that count for a guess, more than any chain has: a vector that leaves the frame, or a mirrored one. They count
twice where there is no vector at all."""

Blocks = tuple[NDArray[np.intp], ...]
"""Rows and columns of some blocks."""

NO_STEPS, MAX_LENGTH = np.zeros((), np.int32), 1 << 28

CORRECTIONS = 2
"""Times that a place before a keyframe is corrected by the keyframe's own motion there."""


@dataclass(eq=False)
class HeldFrame:
    """A frame that others may refer to, or that is still to be shown."""

    place: tuple[int, int]
    """Its place in display order: number of its coded sequence, and order count within that."""
    is_reference: bool
    motion: FrameMotion | None
    """None once it has been shown."""
    slot: int = NO_SLOT
    """Where the composer has its field; `NO_SLOT` before it is composed."""
    lengths: NDArray[np.int32] = field(default_factory=NO_STEPS.copy)
    """Steps of the chain from each block to the keyframe, shape (Hb, Wb), or one number for all."""


class KeyframeFollower:
    """Follows the pixels of each frame of a video back to the keyframe that was shown last.

    Frames may be decoded in another order than they are shown, and refer to later ones. They are composed in decode
    order. Of two references, a block is followed into the one with the shorter chain to the keyframe, in which a step
    without a vector (through an intra-coded block, or into a frame that is not there), or with one that leaves the
    frame, counts as more than any number of others; if they are as long, into that of list 0.

    Parameters
    ----------
    subpixel : bool
        Compose without rounding, as `MotionComposer` says.
    max_ref_back : int
        Furthest reference that is followed, in frames between that may be referred to and are decoded before; blocks
        that refer to a further one count as still. By default as many as an HEVC or H.264 decoder keeps.
    """

    def __init__(self, *, subpixel: bool = False, max_ref_back: int = MAX_REFERENCES) -> None:
        self._subpixel = subpixel
        self._max_ref_back = max_ref_back
        self._composer: MotionComposer | None = None
        self._held: list[HeldFrame] = []
        """In decode order."""
        self._keyframe: HeldFrame | None = None
        self._has_choice = False
        """Whether frames have two lists, so that lengths of chains are needed."""
        self._sequence, self._sequence_poc = 0, -1

    def locate(self, frame: DecodedFrame) -> HeldFrame:
        """Enter the next frame in display order, and those ahead of it, without composing.

        Raises MotionError if the decoder does not say which frames it refers to, or frames are too large.
        """
        check_size(frame.height, frame.width)
        if (frame.ref_poc[: "IPB".index(frame.kind)] == UNKNOWN_REFERENCE).any():
            found = "is a B-frame with" if frame.kind == "B" else "has"
            raise MotionError(
                f"frame {frame.index} {found} vectors, but the decoder does not tell which of several reference frames "
                f"they point to. {ENCODE_AGAIN}"
            )
        for motion in frame.ahead:
            self._enter(motion)
        entered = (held for held in self._held if held.motion and held.motion.mode is frame.mode)
        located = next(entered, None) or self._enter(frame)
        self._drop(located)
        return located

    def follow(self, frame: DecodedFrame) -> NDArray[np.int16]:
        """Return the motion of the next frame in display order to the codec's last keyframe, int16, shape (H, W, 2).

        Displacement (x, y) in quarter pixels from each pixel to its source in the keyframe; zero at a keyframe. Raises
        MotionError as `locate`, and if the first frame is no keyframe.
        """
        if not (self._keyframe or frame.is_keyframe):
            raise MotionError(
                f"frame {frame.index}, the first, is not a keyframe, so there is nothing to follow the motion to"
            )
        return self.compose(frame, self.locate(frame), restart=frame.is_keyframe)

    def compose(self, frame: DecodedFrame, held: HeldFrame, *, restart: bool = False) -> NDArray[np.int16]:
        """Return the motion of the frame that was located last, shape (H, W, 2), with what `locate` returned for it.

        With `restart` it becomes the keyframe of the frames after it, whatever it is to the codec; a frame may be
        composed to the keyframe before it first.
        """
        if self._composer is None:
            self._composer = MotionComposer(frame.height, frame.width, subpixel=self._subpixel, num_fields=NUM_SLOTS)
            self._composer.place(KEYFRAME_SLOT)
        if restart:
            self._restart(self._composer, held, frame)
        else:
            self._compose_missing(self._composer)
        held.motion = None
        return self._composer.read(held.slot)

    def _enter(self, motion: FrameMotion) -> HeldFrame:
        """Hold the next frame in decode order."""
        if motion.is_keyframe:
            self._sequence += motion.poc <= self._sequence_poc  # order counts begin anew
            self._sequence_poc = motion.poc
        self._has_choice |= motion.kind == "B"
        held = HeldFrame((self._sequence, motion.poc), motion.is_reference, motion)
        self._held.append(held)
        return held

    def _drop(self, located: HeldFrame) -> None:
        """Drop frames that were shown and are not referred to any more, and those that should have been shown."""
        limit = MAX_REFERENCES if self._has_choice else self._max_ref_back
        shown = [held for held in self._held if not held.motion and (held.is_reference or held is self._keyframe)]
        unshown = [held for held in self._held if held.motion]
        kept = {id(held) for held in [*shown[-limit:], *unshown[-MAX_REFERENCES:], located]}
        self._held = [held for held in self._held if id(held) in kept]

    def _compose_missing(self, composer: MotionComposer) -> None:
        for held in self._held:
            if held.slot == NO_SLOT and held.motion:
                vectors_qpel, followed, references, held.lengths = self._choose(held, held.motion)
                held.slot = self._free_slot()
                composer.follow(held.slot, vectors_qpel, followed, references)

    def _free_slot(self) -> int:
        taken = {KEYFRAME_SLOT, *(held.slot for held in self._held)}
        return next(slot for slot in range(NUM_SLOTS) if slot not in taken)

    def _choose(
        self, held: HeldFrame, motion: FrameMotion
    ) -> tuple[NDArray[np.int16], NDArray[np.bool_], NDArray[np.intp], NDArray[np.int32]]:
        """Return vectors, whether they are followed, slots of the references, and lengths of the chains of blocks."""
        blocks = motion.mode.shape
        decoded = [other for other in self._held if other.slot != NO_SLOT and (other.is_reference or not other.motion)]
        past = sorted((other for other in decoded if other.place < held.place), key=_place, reverse=True)
        future = sorted((other for other in decoded if other.place > held.place), key=_place)
        past_known, future_known = (
            [other for other in side[: self._max_ref_back] if other.place[0] == held.place[0]]
            for side in (past, future)
        )
        still_slot, still_lengths = (past[0].slot, past[0].lengths) if past else (KEYFRAME_SLOT, NO_STEPS)
        references, followed = np.full(blocks, still_slot, np.intp), np.zeros(blocks, np.bool_)
        if not self._has_choice:
            for other in past_known + future_known:
                found = motion.ref_poc[0] == other.place[1]
                np.copyto(references, other.slot, where=found)
                followed |= found
            return motion.vectors_qpel[0], followed, references, np.add(still_lengths, 1, dtype=np.int32)
        chosen_qpel, lengths = motion.vectors_qpel[0].copy(), np.full(blocks, MAX_LENGTH + 1, np.int32)

        def take(other: HeldFrame, found: Blocks, vectors_qpel: NDArray[np.int16], step: int) -> None:
            """Follow those of the blocks into a frame whose chain is the shortest so far."""
            row, column, is_outside = _follow_blocks(found, vectors_qpel, blocks)
            length = other.lengths[row, column] if other.lengths.ndim else other.lengths
            length = np.minimum(length + step + GUESS * is_outside, MAX_LENGTH)
            is_shorter = length < lengths[found]
            taken = found[0][is_shorter], found[1][is_shorter]
            chosen_qpel[taken], lengths[taken] = vectors_qpel[is_shorter], length[is_shorter]
            references[taken], followed[taken] = other.slot, True

        lists = list(zip(motion.vectors_qpel, motion.ref_poc, strict=True))
        for vectors_qpel, ref_poc in lists:
            for other in past_known + future_known:
                found = np.nonzero(ref_poc == other.place[1])
                take(other, found, vectors_qpel[found], 1)
        if past_known:
            back = held.place[1] - past_known[0].place[1]
            for (vectors_qpel, ref_poc), other in product(lists, future_known):
                found = np.nonzero((ref_poc == other.place[1]) & (lengths >= GUESS))
                mirrored_qpel = vectors_qpel[found] * (-back / (other.place[1] - held.place[1]))
                take(past_known[0], found, _as_int16(np.rint(mirrored_qpel)), GUESS)
        np.copyto(lengths, np.minimum(still_lengths + 2 * GUESS, MAX_LENGTH), where=~followed)
        return chosen_qpel, followed, references, lengths

    def _restart(self, composer: MotionComposer, keyframe: HeldFrame, motion: FrameMotion) -> None:
        """Make a frame the keyframe.

        Frames before it then count as the keyframe, as in the published programs. With two lists, frames after it often
        refer to those, or were decoded before it, so that their chains lead past it: there, those are placed.
        """
        shown = sorted((held for held in self._held if not held.motion and held is not keyframe), key=_place)
        unshown = [held for held in self._held if held.motion and held is not keyframe]
        if self._has_choice and self._keyframe and shown and not motion.is_keyframe:
            self._compose_missing(composer)
            self._held = [held for held in self._held if held not in shown[: -self._max_ref_back]]
            self._place_before(composer, shown[-self._max_ref_back :], keyframe, motion)
        else:
            for held in shown:
                held.slot, held.lengths = KEYFRAME_SLOT, np.full((), GUESS, np.int32)
        self._keyframe = keyframe
        keyframe.slot, keyframe.lengths, keyframe.motion = KEYFRAME_SLOT, NO_STEPS, None
        for held in unshown:
            held.slot = NO_SLOT
        if unshown:
            self._compose_missing(composer)

    def _place_before(
        self, composer: MotionComposer, shown: list[HeldFrame], keyframe: HeldFrame, motion: FrameMotion
    ) -> None:
        """Place frames that were shown before a new keyframe, by blocks.

        The keyframe's own vectors say where its blocks are in them, if what moves moves evenly between frames; where it
        has none, how its motion to the keyframe before differs from theirs.
        """
        blocks = np.indices(motion.mode.shape, sparse=True)
        old = {slot: _at_centres(composer.read(slot)) for slot in {held.slot for held in (*shown, keyframe)}}
        lists = list(zip(motion.vectors_qpel, motion.ref_poc, strict=True))
        unit = 1 if self._subpixel else QUARTERS
        for held in shown:
            back_qpel = (old[keyframe.slot] - old[held.slot]).astype(np.float32)
            steps = np.full(motion.mode.shape, GUESS, np.int32)
            if held.place[0] == keyframe.place[0]:
                for vectors_qpel, ref_poc in reversed(lists):
                    known = (ref_poc != NO_REFERENCE) & (ref_poc != motion.poc)
                    times = (motion.poc - held.place[1]) / (motion.poc - ref_poc[known].astype(np.float32))
                    back_qpel[known], steps[known] = vectors_qpel[known] * times[:, None], 2
                for vectors_qpel, ref_poc in reversed(lists):
                    known = ref_poc == held.place[1]
                    back_qpel[known], steps[known] = vectors_qpel[known], 1
            known_qpel = _as_int16(np.rint(back_qpel / unit) * unit)
            forward_qpel = -known_qpel
            for _ in range(CORRECTIONS):
                row, column, is_outside = _follow_blocks(blocks, forward_qpel, motion.mode.shape)
                forward_qpel = -known_qpel[row, column]
            if held.slot == KEYFRAME_SLOT:
                held.slot = self._free_slot()
            composer.place(held.slot, forward_qpel)
            held.lengths = steps[row, column] + np.int32(GUESS) * is_outside


def _place(held: HeldFrame) -> tuple[int, int]:
    return held.place


def _as_int16(vectors_qpel: NDArray[np.floating]) -> NDArray[np.int16]:
    limit = np.iinfo(np.int16).max
    return np.clip(vectors_qpel, -limit, limit).astype(np.int16)


def _at_centres(motion_qpel: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the motion at the centres of all blocks, shape (Hb, Wb, 2)."""
    rows, columns = (
        np.minimum(np.arange(num_blocks(size)) * BLOCK_SIZE + BLOCK_SIZE // 2, size - 1)
        for size in motion_qpel.shape[:2]
    )
    return motion_qpel[rows[:, None], columns]


def _follow_blocks(
    blocks: Blocks, vectors_qpel: NDArray[np.int16], shape: tuple[int, ...]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Return row and column of the blocks that the centres of others come from, and which of these are outside."""
    side = QUARTERS * BLOCK_SIZE
    row, column = (
        start + (vectors_qpel[..., axis].astype(np.intp) + side // 2) // side
        for start, axis in zip(blocks, (1, 0), strict=True)
    )
    row_inside, column_inside = np.clip(row, 0, shape[0] - 1), np.clip(column, 0, shape[1] - 1)
    return row_inside, column_inside, (row_inside != row) | (column_inside != column)
