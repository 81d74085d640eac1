"""Motion to a keyframe from any video: whole, damaged, cut, with and without motion of its own."""

import av
import numpy as np
import pytest
from infer_examples import STEP, b_picture_video, frames_of, p_only_video, two_scenes, write_video
from motion_examples import compose_clip
from video_examples import encode_with

from arseg.codec.decode import read_clip
from arseg.codec.reencode import Reencoding, reencode
from arseg.codec.stream import open_video, split_bitstream
from arseg.codec.tolerant import MAX_KEPT_BYTES
from arseg.errors import CodecError, ConfigError, MotionError
from arseg.motion.live import Following, LiveVideo
from arseg.spec import PAPER_RULES, MotionRules
from arseg.stopwatch import Stopwatch

P_GOP = "bframes=0:ref=1:scenecut=0:keyint=6:min-keyint=6:open-gop=0"
MARGIN = 12
"""Pixels at the border whose content comes from outside the frame."""


def read(path, *, follow=True, trained=PAPER_RULES, **options):
    following = Following(**options)
    with open_video(path) as stream:
        video = LiveVideo(stream, following, following.rules(trained) if follow else None, Stopwatch())
        return video, list(video)


def decoded(path):
    """Frames as PyAV decodes them."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def planes(followed):
    return [frame.pixels.to_ndarray(format="rgb24") for frame in followed]


def middle(motion_qpel):
    return np.median(motion_qpel[MARGIN:-MARGIN, MARGIN:-MARGIN].reshape(-1, 2), axis=0) / 4


def test_motion_of_the_stream_is_taken_as_it_is(tmp_path):
    path = p_only_video(tmp_path / "own.264", frames_of(14), gop=6)
    video, followed = read(path)
    assert not video.reencoded_because
    assert [p.distance for p in followed] == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 0, 1]
    assert [p.index for p in followed if p.keyframe_reason == "coded"] == [0, 6, 12]
    clip = read_clip(path.read_bytes(), "h264", 6)
    expected = compose_clip(clip)
    for frame in followed[1:6]:
        np.testing.assert_array_equal(frame.motion_qpel, expected[frame.distance])
    assert followed[0].motion_qpel is None


@pytest.mark.parametrize("name", ["own.265", "own.mkv"])
def test_hevc_with_several_references(hevc_reader, tmp_path, name):
    options = ["-x265-params", "bframes=0:ref=4:keyint=250:log-level=none"]
    path = write_video(tmp_path / name, frames_of(9), *options, encoder="libx265")
    video, followed = read(path)
    assert not video.reencoded_because
    assert [p.distance for p in followed] == list(range(9))
    np.testing.assert_allclose(middle(followed[8].motion_qpel), np.multiply(8, STEP), atol=1)


SEVERAL_REFERENCES = "-x264-params", "bframes=0:ref=4:scenecut=0:keyint=12:min-keyint=12"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: b_picture_video(path / "a.264", frames_of(26)), "B-frame"),
        (lambda path: b_picture_video(path / "a.mkv", frames_of(26)), "B-frame"),
        (lambda path: b_picture_video(path / "a.ts", frames_of(26)), "B-frame"),
        (
            lambda path: write_video(path / "a.mp4", frames_of(10), *SEVERAL_REFERENCES),
            "which of several reference frames",
        ),
        (
            lambda path: write_video(path / "a.mkv", frames_of(8, 61, 93), encoder="ffv1", pix_fmt="yuv444p"),
            "motion vectors of ffv1 cannot be read",
        ),
    ],
    ids=["B-frames, .264", "B-frames, .mkv", "B-frames, .ts", "references", "no motion, odd size"],
)
def test_frames_are_encoded_again_and_none_is_lost_or_shown_twice(make, reason, tmp_path):
    path = make(tmp_path)
    video, followed = read(path)
    assert reason in video.reencoded_because
    np.testing.assert_array_equal(planes(followed), decoded(path))
    assert video.damage.num_lost == 0
    for frame in followed:
        if frame.distance:
            assert frame.motion_qpel.shape == (frame.pixels.height, frame.pixels.width, 2)
            np.testing.assert_allclose(middle(frame.motion_qpel), np.multiply(frame.distance, STEP), atol=1)
    assert np.all(np.diff([frame.seconds for frame in followed]) > 0)


def test_a_stream_that_must_serve_and_does_not_is_refused(tmp_path):
    path = b_picture_video(tmp_path / "own.mkv", frames_of(6))
    with pytest.raises(MotionError, match=r"B-frame.*--motion auto"):
        read(path, motion="stream")


def test_encoding_again_when_asked_for(tmp_path):
    path = p_only_video(tmp_path / "own.mkv", frames_of(8), gop=8)
    video, followed = read(path, motion="reencode", keyframes="coded,distance=3")
    assert video.reencoded_because == "asked for"
    assert [frame.distance for frame in followed] == [0, 1, 2, 3, 0, 1, 2, 3]


def test_encoding_again_is_deterministic():
    frames = [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in frames_of(7)]
    runs = [list(reencode(iter(frames), 7, Reencoding(), Stopwatch())) for _ in range(2)]
    assert [frame.pixels for frame in runs[0]] == frames  # the very frames that went in
    for first, second in zip(*runs, strict=True):
        np.testing.assert_array_equal(first.vectors_qpel, second.vectors_qpel)
    assert [frame.is_keyframe for frame in runs[0]] == [True] + 6 * [False]


def test_an_unknown_preset_is_refused():
    frames = [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in frames_of(1)]
    with pytest.raises(CodecError, match="cannot be encoded again with preset sideways"):
        list(reencode(iter(frames), 7, Reencoding(preset="sideways"), Stopwatch()))


# Keyframes that the codec did not make


@pytest.mark.parametrize(
    ("frames", "policies", "reasons"),
    [
        (frames_of(11), "coded,distance=4", {0: "coded", 5: "distance", 10: "distance"}),
        (two_scenes(10), "coded,distance,cut", {0: "coded", 5: "cut"}),  # which the encoder did not mark
        (frames_of(3), "distance=0", {0: "start", 1: "distance", 2: "distance"}),
    ],
)
def test_a_long_gop_is_cut_where_policies_say(frames, policies, reasons, tmp_path):
    path = p_only_video(tmp_path / "own.mkv", frames, gop=250)
    _, followed = read(path, keyframes=policies)
    assert {frame.index: frame.keyframe_reason for frame in followed if frame.keyframe_reason} == reasons
    for frame in followed:
        assert frame.distance == frame.index - max(index for index in reasons if index <= frame.index)
        if frame.distance and "cut" not in policies:  # whose scenes stand still
            np.testing.assert_allclose(middle(frame.motion_qpel), np.multiply(frame.distance, STEP), atol=1)


def test_variable_gops(tmp_path):
    path = tmp_path / "own.264"
    options = "-x264-params", "bframes=0:ref=1"
    path.write_bytes(b"".join(encode_with("libx264", frames_of(n), *options, form="h264") for n in (1, 4, 2)))
    _, followed = read(path)
    assert [frame.distance for frame in followed] == [0, 0, 1, 2, 3, 0, 1]


@pytest.mark.parametrize("b_frames", [False, True])
def test_the_size_may_change(tmp_path, b_frames):
    options = ["-x264-params", f"bframes={2 * b_frames}:b-adapt=0:ref=1"]
    sizes = [(64, 96)] * 5 + [(48, 80)] * 4
    path = tmp_path / "own.264"
    parts = frames_of(5, 64, 96), frames_of(4, 48, 80)
    path.write_bytes(b"".join(encode_with("libx264", part, *options, form="h264") for part in parts))
    video, followed = read(path)
    assert bool(video.reencoded_because) == b_frames
    assert [(p.pixels.height, p.pixels.width) for p in followed] == sizes
    # The first frame has been shown when the second one turns out to be a B-frame.
    assert [p.index for p in followed if p.distance == 0] == ([0, 1, 5] if b_frames else [0, 5])
    assert all(p.motion_qpel.shape == (p.pixels.height, p.pixels.width, 2) for p in followed if p.distance)


# Damage


def damaged(content, start, stop):
    return content[:start] + bytes(255 - byte for byte in content[start:stop]) + content[stop:]


@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
def test_what_is_damaged_is_left_out_and_counted(hevc_reader, tmp_path, encoder):
    codec = {"libx264": "h264", "libx265": "hevc"}[encoder]
    parameters = {"libx264": P_GOP, "libx265": f"{P_GOP}:log-level=none:hash=1"}[encoder]
    name = {"libx264": "-x264-params", "libx265": "-x265-params"}[encoder]
    content = encode_with(encoder, frames_of(24), name, parameters, form=codec)
    packets = [bytes(packet) for packet in split_bitstream(content, codec).packets]
    assert len(packets) == 24
    hit = packets[8]  # third frame of the second GOP
    # H.264 decodes almost anything; so its slice header is hit. HEVC here has a hash of each frame.
    packets[8] = damaged(hit, 6 if codec == "h264" else len(hit) // 3, len(hit))
    path = tmp_path / f"own.{codec}"
    path.write_bytes(b"".join(packets))
    video, followed = read(path)
    assert not video.reencoded_because
    assert video.damage.num_places == 1
    assert len(followed) + video.damage.num_lost == 24
    assert 4 <= video.damage.num_lost <= 8
    sound = read_clip(content, codec)
    for before in range(6):
        np.testing.assert_array_equal(followed[before].pixels.to_ndarray(), sound.frames[before].pixels.to_ndarray())
    for behind in range(-12, 0):  # the two GOPs behind the damage are whole
        np.testing.assert_array_equal(followed[behind].pixels.to_ndarray(), sound.frames[behind].pixels.to_ndarray())
        assert followed[behind].distance == (behind + 12) % 6


def test_damage_in_a_stream_that_is_encoded_again(tmp_path):
    content = encode_with("libx264", frames_of(24), "-x264-params", "bframes=2:keyint=6:scenecut=0", form="h264")
    packets = [bytes(packet) for packet in split_bitstream(content, "h264").packets]
    packets[9] = damaged(packets[9], 6, len(packets[9]))
    path = tmp_path / "own.264"
    path.write_bytes(b"".join(packets))
    video, followed = read(path)
    assert video.reencoded_because
    assert video.damage.num_places >= 1
    assert len(followed) + video.damage.num_lost == 24
    assert len(followed) >= 15


@pytest.mark.parametrize("suffix", [".ts", ".mp4", ".mkv", ".264"])
def test_a_truncated_video_is_read_up_to_there(tmp_path, suffix):
    path = p_only_video(tmp_path / f"own{suffix}", frames_of(24), gop=6)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    _, followed = read(path)
    assert 6 <= len(followed) < 24
    assert [p.distance for p in followed[:6]] == list(range(6))


def test_a_stream_that_is_joined_in_its_middle_begins_at_a_keyframe(tmp_path):
    content = encode_with("libx264", frames_of(12), "-x264-params", P_GOP, form="h264")
    packets = [bytes(packet) for packet in split_bitstream(content, "h264").packets]
    path = tmp_path / "own.264"
    path.write_bytes(b"".join(packets[4:]))
    video, followed = read(path)
    assert len(followed) == 6
    assert video.damage.num_lost == 2
    assert not video.reencoded_because


@pytest.mark.parametrize("content", [b"", b"no video at all", bytes(1000)])
def test_what_is_no_video_is_refused(tmp_path, content):
    path = tmp_path / "own.264"
    path.write_bytes(content)
    with pytest.raises(CodecError, match=r"cannot be read as a video|no frame can be decoded"):
        read(path)


def test_without_motion_every_frame_is_a_keyframe(tmp_path):
    path = b_picture_video(tmp_path / "own.mkv", frames_of(7))
    video, followed = read(path, follow=False)
    assert [frame.distance for frame in followed] == 7 * [0]
    assert not video.reencoded_because
    np.testing.assert_array_equal(planes(followed), decoded(path))


# Times and memory


def test_times_are_the_containers(tmp_path):
    path = p_only_video(tmp_path / "own.ts", frames_of(5))  # whose clock begins at 1.4 s
    _, followed = read(path)
    np.testing.assert_allclose([frame.seconds for frame in followed], np.arange(5) / 30, atol=1e-4)


def test_memory_does_not_grow_with_an_endless_gop(tmp_path, monkeypatch):
    monkeypatch.setattr("arseg.codec.tolerant.MAX_KEPT_BYTES", 10_000)
    path = p_only_video(tmp_path / "own.mkv", frames_of(60), gop=250)
    assert path.stat().st_size > 30_000
    most = 0
    with open_video(path) as stream:
        video = LiveVideo(stream, Following(), PAPER_RULES, Stopwatch())
        for _ in video:
            most = max(most, sum(packet.size for packet in video._kept.recent()))
    assert 0 < most <= 10_000 < MAX_KEPT_BYTES


@pytest.mark.parametrize("max_ref_back", [0, 17])
def test_options_that_cannot_be(max_ref_back):
    with pytest.raises(ConfigError, match=f"--max-ref-back {max_ref_back}"):
        Following(max_ref_back=max_ref_back)


def test_options_win_over_the_training_one_by_one():
    trained = MotionRules(subpixel=True, gop=30, max_ref_back=5)
    assert Following().rules(trained) == trained
    rules = Following(keyframes="coded,distance=0", subpixel=False).rules(trained)
    assert rules == MotionRules(subpixel=False, gop=1, max_ref_back=5)
    assert rules.difference(trained) == "subpixel False instead of True, gop 1 instead of 30"
