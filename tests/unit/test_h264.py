"""What the headers of H.264 say, where a decoder is the judge of what they mean."""

import numpy as np
import pytest
from video_examples import encode_with_x264, moving_texture

from arseg.codec.bitstream import START_CODE, nal_units
from arseg.codec.stream import split_bitstream

NUM_FRAMES, PLACE = 8, 3
FRAME_NUM = slice(7, 11)
"""Bits of a P-slice that say its frame number, behind 0, 5 and 0 in Exp-Golomb code."""
FORGET = "1" + "00110" + "1"
"""Of its reference marking: there are commands, 5, no more."""
FADE = (moving_texture(NUM_FRAMES, 64, 96, (2, 0)) * np.linspace(1, 0.3, NUM_FRAMES)[:, None, None, None]).astype("u1")


def forgetful(units, at):
    """Make the frame at `PLACE` forget all others, by a command at a bit of its header, and count frames from there."""
    stream, number = b"", 0
    for unit in units:
        if unit[0] & 0x1F in (1, 5):
            bits = "".join(f"{byte:08b}" for byte in unit[1:].replace(b"\0\0\3", b"\0\0")).rstrip("0")[:-1]
            if number == PLACE:
                bits = f"{bits[:at]}{FORGET}{bits[at + 1 :]}"
            elif number > PLACE:
                bits = f"{bits[: FRAME_NUM.start]}{number - PLACE:04b}{bits[FRAME_NUM.stop :]}"
            bits += "1"
            payload = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8))
            for byte in b"\0\1\2\3":
                payload = payload.replace(bytes([0, 0, byte]), bytes([0, 0, 3, byte]))
            stream, number = stream + START_CODE + unit[:1] + payload, number + 1
            continue
        stream += START_CODE + unit
    return stream


def decode(stream):
    return [frame.to_ndarray(format="rgb24") for frame in stream.frames()]


@pytest.mark.parametrize(
    ("frames", "settings"),
    [(moving_texture(NUM_FRAMES, 64, 96, (2, 0)), "ref=1:weightp=0"), (FADE, "ref=3:weightp=2")],
    ids=["short header", "with weights"],
)
def test_frames_that_are_forgotten_are_not_missing(frames, settings):
    """Of all places of the command, one gives the frames that were coded: that is where it belongs."""
    content = encode_with_x264(frames, f"bframes=0:scenecut=0:keyint=250:cabac=0:slices=1:{settings}")
    units, sound = list(nal_units(content)), decode(split_bitstream(content, "h264"))
    for at in range(FRAME_NUM.stop, 300):
        stream = split_bitstream(forgetful(units, at), "h264")
        shown = decode(stream)
        if np.array_equal(shown, sound):
            break
    assert np.array_equal(shown, sound)
    assert not stream.damage.messages
    lost = split_bitstream(b"".join(START_CODE + unit for unit in units[:-3] + units[-2:]), "h264")
    decode(lost)
    assert "frames are missing between frame numbers 4 and 6" in lost.damage.messages[0]
