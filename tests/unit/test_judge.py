"""When the stream's own motion is given up for that of encoding again."""

import re

import av
import numpy as np
import pytest
from infer_examples import P_ONLY, STEP, frames_of, slow_video, write_video
from test_live import decoded, planes, read
from video_examples import moving_texture

from arseg.motion.judge import is_cut

WEAK = ("-preset", "ultrafast", "-x264-params", "bframes=0:ref=1:scenecut=0:keyint=250:me=dia:merange=4:subme=0")
"""Settings that hardly look for motion, as encoders in phones."""


def in_a_dark_room(frames):
    """The same in 10 % of the light, now and then with a flash."""
    return np.stack([frame if number % 5 == 4 else frame // 10 for number, frame in enumerate(frames)])


@pytest.mark.parametrize(
    ("frames", "options", "share", "again"),
    [
        (moving_texture(16, 96, 128, (9, 6)), WEAK, 0.5, 0.35),
        (np.repeat(frames_of(1), 16, axis=0), ("-x264-params", "keyint=1"), 1, 0),
    ],
    ids=["most blocks intra-coded", "nothing but keyframes"],
)
def test_motion_that_explains_little_is_found_by_encoding_again(frames, options, share, again, tmp_path, caplog):
    path = write_video(tmp_path / "own.mkv", frames, *options)
    with caplog.at_level("INFO"):
        video, followed = read(path)
    told = re.fullmatch(r"from frame 4 on, .* (\d+)% of the blocks .* (\d+)% if .*", video.reencoded_because)
    assert int(told[1]) >= 100 * share
    assert int(told[2]) <= 100 * again
    assert caplog.text.count(video.reencoded_because) == 1
    np.testing.assert_array_equal(planes(followed), decoded(path))
    assert [frame.distance for frame in followed] == [0, 0, 0, 0, *range(12)]
    video, followed = read(path, motion="stream")
    assert not video.reencoded_because
    assert sum(frame.distance == 0 for frame in followed) > len(followed) / 2


@pytest.mark.parametrize(
    ("frames", "options"),
    [
        (np.repeat(frames_of(1), 16, axis=0), WEAK),
        (np.random.default_rng(0).integers(0, 256, (24, 64, 96, 3), dtype=np.uint8), WEAK),
        (np.concatenate([moving_texture(2, 64, 96, STEP, seed) for seed in range(12)]), WEAK),
        (in_a_dark_room(frames_of(24)), WEAK),
        (frames_of(16), ("-x264-params", P_ONLY.format(gop=2))),
    ],
    ids=["still", "noise", "cuts", "flashes", "short GOPs"],
)
def test_other_motion_is_kept(frames, options, tmp_path):
    video, followed = read(write_video(tmp_path / "own.mkv", frames, *options))
    assert not video.reencoded_because
    assert len(followed) == len(frames)


def test_a_section_is_judged_for_itself(tmp_path):
    # A keyframe every 12 s, and a second between frames: a section begins at frame 12, and the room moves around that.
    room = moving_texture(5, 96, 128, (9, 6))
    frames = np.concatenate([np.repeat(room[:1], 10, axis=0), room, np.repeat(room[-1:], 9, axis=0)])
    weak = WEAK[-1].replace("keyint=250", "keyint=12:min-keyint=12")
    path = slow_video(tmp_path / "own.mkv", frames, weak, *WEAK[:2])
    assert not read(path)[0].reencoded_because
    assert "from frame 14 on" in read(path, keyframes="distance,cut")[0].reencoded_because  # knows of no sections


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10"])
def test_a_cut_is_told_from_what_moves(pix_fmt):
    def is_another(first, second):
        frames = (av.VideoFrame.from_ndarray(frame.copy(), format="rgb24") for frame in (first, second))
        return is_cut(*(frame.reformat(format=pix_fmt) for frame in frames))

    room = moving_texture(2, 90, 150, (13, 9))
    for pair, expected in (
        (room, False),
        ((room[0], room[0] // 2), True),
        ((np.sort(room[0], axis=1), np.sort(room[0], axis=1)[:, ::-1]), True),  # the same brightness elsewhere
    ):
        assert is_another(*pair) == expected
