"""Odd and damaged videos of other projects, where ARSEG_VIDEOS names their folder: every frame that players show."""

import os
from collections import Counter
from pathlib import Path
from zlib import crc32

import av
import numpy as np
import pytest

from arseg.codec.stream import open_video
from arseg.datasets.videos.footage import count_frames, decode_frames
from arseg.errors import ArsegError
from arseg.motion.extract import extract_motion
from arseg.motion.file import MotionFile
from arseg.motion.live import Following, LiveVideo
from arseg.spec import PAPER_RULES
from arseg.stopwatch import Stopwatch

FRAMES = {
    "cros_25fps.h264": 250,
    "cros_interlaced.h264": 250,
    "cros_ipbp.h265": 3,
    "dash_novatek.ts": 300,
    "de265_girlshy.h265": 75,
    "decord_rot90.mov": 3,
    "fate_h264_brokensps.mp4": 79,
    "fate_h264_empty_edit_5s.mp4": 100,
    "fate_hevc_extradata-reload-multi-stsd.mp4": 4,
    "fate_hevc_mov_ibi_elst_starts_b.mp4": 24,
    "g2_422_10.h265": 3,
    "h265nal_turing.265": 300,
    "hevcjs_10bit.265": 10,
    "jc_m4v.m4v": 5,
    "m3_edit_preroll.mp4": 16,
    "m3_mvhevc.mov": 5,
    "m3_rotate_reflect.mp4": 30,
    "mb_sar2x1.mp4": 150,
    "moon_clip.mp4": 10,
    "moviepy_bitmap.mp4": 5,
    "mtx_offline_h265.mp4": 30,
    "oh_cabac_b.264": 9,
    "oh_cvfc1.jsv": 50,
    "tc_h265.mp4": 10,
    "wpt_resize.mp4": 118,
}

DAMAGED = {"fate_h264_empty_edit_5s.mp4": 100}
"""In which FFmpeg conceals a part of the first keyframe, and of others: all frames depend on such."""

DEINTERLACED = {"cros_interlaced.h264": 250}

CUT = {"fate_hevc_mov_ibi_elst_starts_b.mp4": 1, "m3_edit_preroll.mp4": 1, "wpt_resize.mp4": 1}
"""Frames that their edit lists cut away."""

OWN_MOTION = {
    "cros_ipbp.h265",
    "de265_girlshy.h265",
    "fate_hevc_mov_ibi_elst_starts_b.mp4",
    "g2_422_10.h265",
    "h265nal_turing.265",
    "hevcjs_10bit.265",
    "m3_mvhevc.mov",
    "mtx_offline_h265.mp4",
    "tc_h265.mp4",
}
"""HEVC with B-frames, open groups, ten bits and 4:2:2."""

REFUSED = {
    "ey_encrypted.mp4": "the video is encrypted",
    "wpt_invalid_codec.mp4": "a codec that no decoder of FFmpeg knows",
}


@pytest.fixture(scope="session")
def videos():
    """The folder; skipped where ARSEG_VIDEOS does not name it."""
    named = os.environ.get("ARSEG_VIDEOS")
    if not named:
        pytest.skip("ARSEG_VIDEOS is not set: no videos of other projects to test on")
    return Path(named)


def checksum(frame):
    return crc32(np.ascontiguousarray(frame.to_ndarray()))


def shown_by_ffmpeg(path):
    """Checksums of the frames, and their times, by PyAV in one thread."""
    sums, times = [], []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        try:
            for frame in container.decode(stream):
                sums.append(checksum(frame))
                times.append(frame.time)
        except IndexError:  # by PyAV, at the end, where streams appear late
            pass
    return sums, times


@pytest.mark.usefixtures("hevc_reader")
@pytest.mark.parametrize("name", FRAMES)
def test_every_frame_that_ffmpeg_shows_is_shown_in_order(videos, name):
    seconds, sums, damaged = [], [], Counter()
    with open_video(videos / name) as stream:
        video = LiveVideo(stream, Following(), PAPER_RULES, Stopwatch())
        for frame in video:
            seconds.append(frame.seconds)
            sums.append(checksum(frame.pixels))
            damaged[frame.is_damaged] += 1
    expected, times = shown_by_ffmpeg(videos / name)
    assert len(sums) == FRAMES[name]
    assert name in DEINTERLACED or sums == expected
    assert video.num_deinterlaced == DEINTERLACED.get(name, 0)
    if name in OWN_MOTION:
        assert not video.reencoded_because
    assert np.all(np.diff(seconds) > 0)
    if None not in times and np.all(np.diff(times) > 0):
        np.testing.assert_allclose(seconds[: len(times)], np.subtract(times, times[0]), atol=1e-6)
    assert (damaged[True], video.damage.num_damaged) == (DAMAGED.get(name, 0),) * 2
    assert (video.damage.num_lost, video.damage.num_cut) == (0, CUT.get(name, 0))


@pytest.mark.usefixtures("hevc_reader")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_shown_is_refused_in_one_line(videos, name, tmp_path):
    with (
        pytest.raises(ArsegError, match=REFUSED[name]),
        open_video(videos / name) as stream,
    ):
        list(LiveVideo(stream, Following(), PAPER_RULES, Stopwatch()))
    with pytest.raises(ArsegError, match=f"{name}: .*{REFUSED[name]}"):
        extract_motion(str(videos / name), tmp_path / "motion.h5")


WITHOUT_VECTORS = {
    "cros_interlaced.h264": "frame 0 is interlaced",
    "jc_m4v.m4v": "frame 2 is a B-frame; of this codec",
    "moviepy_bitmap.mp4": "none of its 4 P- and B-frames has a motion vector",
}


@pytest.mark.usefixtures("hevc_reader")
@pytest.mark.parametrize("name", FRAMES)
def test_motion_is_recorded_of_every_frame_or_refused_in_one_line(videos, name, tmp_path):
    if name in WITHOUT_VECTORS:
        with pytest.raises(ArsegError, match=f"{name}: .*{WITHOUT_VECTORS[name]}"):
            extract_motion(str(videos / name), tmp_path / "motion.h5")
        return
    extract_motion(str(videos / name), tmp_path / "motion.h5")
    with MotionFile(tmp_path / "motion.h5") as file:
        assert len(file) == FRAMES[name]
        assert file.attributes.frames_damaged == DAMAGED.get(name, 0)


@pytest.mark.parametrize("name", FRAMES)
def test_frames_to_sample_from_are_counted_without_decoding(videos, name):
    assert count_frames(videos / name) == (4 if name == "jc_m4v.m4v" else FRAMES[name])  # a packet of it holds two
    (last,) = decode_frames(videos / name, {count_frames(videos / name) - 1}, 0)
    assert last[1].ndim == 3


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_sampled_is_refused_in_one_line(videos, name):
    with pytest.raises(ArsegError, match=f"{name}: .*(is encrypted|a codec that no decoder)"):
        count_frames(videos / name)
