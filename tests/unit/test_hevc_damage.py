"""Damaged HEVC: thousands of streams with flipped, cut and lost bytes. None crashes, hangs or passes as sound.

The streams carry hashes of their frames. So the oracle is strict: what is read from a damaged stream must be frames
of the sound one, with their motion, or be marked as damaged; or nothing is left but an error.
"""

import time

import numpy as np
import pytest
from video_examples import encode_with_x265, moving_texture

from arseg.codec.decode import read_frames
from arseg.codec.hevc import MotionProcess
from arseg.codec.stream import split_bitstream
from arseg.errors import CodecError
from arseg.motion.follow import KeyframeFollower

NUM_STREAMS = 800
MAX_SECONDS = 20.0
"""Far beyond what reading 8 frames of 96x64 takes; a hang is not."""


KINDS = {
    "P": ("yuv420p", "bframes=0"),
    "B, open groups": ("yuv420p", "bframes=3:b-adapt=0:open-gop=1:keyint=4:min-keyint=4"),
    "B, 4:2:2, 10 bits": ("yuv422p10le", "bframes=4:b-adapt=0:b-pyramid=1"),
}


@pytest.fixture(scope="module", params=KINDS)
def sound(request):
    pix_fmt, parameters = KINDS[request.param]
    frames = moving_texture(8, 64, 96, (3, 2)).copy()
    frames[:, 20:40, 30:60] = moving_texture(8, 20, 30, (-2, 1), seed=1)
    return encode_with_x265(frames, f"keyint=12:qp=30:hash=1:info=0:{parameters}", pix_fmt)


def damaged(bitstream, seed):
    """Cut the stream, take bytes out of it, or change one to three of its bytes."""
    generator = np.random.default_rng(seed)
    data = bytearray(bitstream)
    place = int(generator.integers(len(data)))
    kind = seed % 4
    if kind == 0:
        return bytes(data[:place])
    if kind == 1:
        del data[place : place + int(generator.integers(1, 50))]
        return bytes(data)
    for _ in range(int(generator.integers(1, 4))):
        data[int(generator.integers(len(data)))] ^= int(generator.integers(1, 256))
    return bytes(data)


def pixels_of(frame):
    return frame.pixels.to_ndarray().tobytes()


@pytest.mark.usefixtures("hevc_reader")
def test_damage_is_marked_and_leaves_sound_frames(sound):
    known = {pixels_of(frame): frame for frame in read_frames(split_bitstream(sound, "hevc"))}
    assert len(known) == 8
    num_errors, num_noticed, num_sound, slowest = 0, 0, 0, 0.0
    for seed in range(NUM_STREAMS):
        started = time.monotonic()
        stream, follower = split_bitstream(damaged(sound, seed), "hevc"), KeyframeFollower()
        try:
            for frame in read_frames(stream):  # which finds out itself whether all are there
                if frame.is_damaged:
                    follower = KeyframeFollower()
                    continue
                motion_qpel = follower.compose(frame, follower.locate(frame), restart=seed % 5 == frame.index % 5)
                assert motion_qpel.shape == (64, 96, 2)
                num_sound += 1
                original = known.get(pixels_of(frame))
                assert original is not None, f"seed {seed}: frame {frame.index} was never encoded"
                np.testing.assert_array_equal(frame.mode, original.mode, f"seed {seed}")
                np.testing.assert_array_equal(frame.vectors_qpel, original.vectors_qpel, f"seed {seed}")
            num_noticed += bool(stream.damage.num_places)
        except CodecError:
            num_errors += 1
        slowest = max(slowest, time.monotonic() - started)
    assert num_errors + num_noticed > 0.7 * NUM_STREAMS
    assert num_sound > NUM_STREAMS
    assert slowest < MAX_SECONDS


def test_decoder_alone_survives_what_ffmpeg_would_refuse(sound, hevc_reader):
    # Without FFmpeg beside it, which finds most damage first. Ending by a signal would be an error with its name.
    answers = []
    for seed in range(NUM_STREAMS):
        process = MotionProcess(hevc_reader)
        try:
            for packet in split_bitstream(damaged(sound, seed), "hevc").packets:
                process.ask(bytes(packet))
            process.ask(b"", ends=True)
        except CodecError as error:
            answers.append(str(error))
        finally:
            process.close()
    assert len(answers) > 0.5 * NUM_STREAMS
    assert not [answer for answer in answers if "libde265 says" not in answer]
