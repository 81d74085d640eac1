"""Motion to a keyframe from any video: whole, damaged, cut, with and without motion of its own."""

import errno
import subprocess
from functools import cache

import av
import av.error
import numpy as np
import pytest
from file_kinds import NO_MEMORY_THERE
from infer_examples import STEP, b_picture_video, frames_of, p_only_video, two_scenes, write_video
from motion_examples import compose_clip, compose_evidence
from test_hevc_damage import damaged as mutated
from video_examples import encode_with

from arseg.codec.bitstream import nal_units
from arseg.codec.decode import read_clip
from arseg.codec.ffmpeg import find_ffmpeg
from arseg.codec.reencode import Reencoding, reencode
from arseg.codec.stream import PacketStream, open_video, split_bitstream
from arseg.errors import CodecError, ConfigError, FileAccessError, MotionError
from arseg.motion.live import Following, LiveVideo
from arseg.spec import PAPER_RULES, MotionRules
from arseg.stopwatch import Stopwatch

P_GOP = "bframes=0:ref=1:scenecut=0:keyint=6:min-keyint=6:open-gop=0"
NUM_DAMAGES = 80
"""Streams that are damaged in another way each."""

MARGIN = 12
"""Pixels at the border whose content comes from outside the frame."""


def read(path, *, follow=True, trained=PAPER_RULES, with_evidence=False, **options):
    following = Following(**options)
    with open_video(path) as stream:
        rules = following.rules(trained) if follow else None
        video = LiveVideo(stream, following, rules, Stopwatch(), with_evidence=with_evidence)
        return video, list(video)


def decoded(path):
    """Frames as PyAV decodes them."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_count = 1  # several conceal damage in another way
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def planes(followed):
    return [frame.pixels.to_ndarray(format="rgb24") for frame in followed]


def middle(motion_qpel):
    return np.median(motion_qpel[MARGIN:-MARGIN, MARGIN:-MARGIN].reshape(-1, 2), axis=0) / 4


def test_motion_of_the_stream_is_taken_as_it_is(tmp_path):
    path = p_only_video(tmp_path / "own.264", frames_of(14), gop=6)
    video, followed = read(path, with_evidence=True)
    assert not video.reencoded_because
    assert [p.distance for p in followed] == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 0, 1]
    assert [p.index for p in followed if p.keyframe_reason == "coded"] == [0, 6, 12]
    clip = read_clip(path.read_bytes(), "h264", 6)
    expected = compose_clip(clip)
    counts = compose_evidence(clip.block_vectors_qpel, clip.block_ref_back, clip.height, clip.width)
    for frame in followed[1:6]:
        np.testing.assert_array_equal(frame.motion_qpel, expected[frame.distance])
        np.testing.assert_array_equal(frame.evidence, counts[frame.distance])
    assert followed[0].motion_qpel is followed[0].evidence is None
    assert all(frame.evidence is None for frame in read(path)[1])


@pytest.mark.parametrize("name", ["own.265", "own.mkv"])
def test_hevc_with_several_references(hevc_reader, tmp_path, name):
    options = ["-x265-params", "bframes=0:ref=4:keyint=250:log-level=none"]
    path = write_video(tmp_path / name, frames_of(9), *options, encoder="libx265")
    video, followed = read(path)
    assert not video.reencoded_because
    assert [p.distance for p in followed] == list(range(9))
    np.testing.assert_allclose(middle(followed[8].motion_qpel), np.multiply(8, STEP), atol=1)


SEVERAL_REFERENCES = "-x264-params", "bframes=0:ref=4:scenecut=0:keyint=12:min-keyint=12"


def open_groups(path):
    """A keyframe every second frame, which the frame before it refers to."""
    parameters = "keyint=2:min-keyint=2:bframes=1:b-adapt=0:open-gop=1:scenecut=0:log-level=none"
    return write_video(path, frames_of(11), "-x265-params", parameters, encoder="libx265")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: b_picture_video(path / "a.264", frames_of(26)), "B-frame"),
        (lambda path: b_picture_video(path / "a.mkv", frames_of(26)), "B-frame"),
        (lambda path: b_picture_video(path / "a.ts", frames_of(26)), "B-frame"),
        (lambda path: write_video(path / "a.avi", frames_of(10), "-bf", "2", encoder="mpeg4"), "is a B-frame"),
        (
            lambda path: write_video(path / "a.mp4", frames_of(10), *SEVERAL_REFERENCES),
            "which of several reference frames",
        ),
        (
            lambda path: write_video(path / "a.mkv", frames_of(8, 61, 93), encoder="ffv1", pix_fmt="yuv444p"),
            "motion vectors of ffv1 cannot be read",
        ),
    ],
    ids=[
        "B-frames, .264",
        "B-frames, .mkv",
        "B-frames, .ts",
        "MPEG-4 with B-frames",
        "references",
        "no motion, odd size",
    ],
)
def test_frames_are_encoded_again_and_none_is_lost_or_shown_twice(hevc_reader, make, reason, tmp_path):
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


@pytest.mark.parametrize("suffix", [".265", ".mkv"])
def test_hevc_is_followed_through_open_groups(hevc_reader, suffix, tmp_path):
    path = open_groups(tmp_path / f"own{suffix}")
    video, followed = read(path)
    assert not video.reencoded_because
    np.testing.assert_array_equal(planes(followed), decoded(path))
    assert [frame.distance for frame in followed] == [0, 1] * 5 + [0]
    for frame in followed[1::2]:
        np.testing.assert_allclose(middle(frame.motion_qpel), STEP, atol=1)


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


WITHOUT_B = {"libx264": P_GOP, "libx265": f"{P_GOP}:log-level=none"}
WITH_B = {
    "libx264": "bframes=2:b-adapt=0:keyint=6:scenecut=0:open-gop=0",
    "libx265": "bframes=2:b-adapt=0:keyint=6:min-keyint=6:scenecut=0:open-gop=0:log-level=none",
}


@cache
def packets_of(encoder, parameters, num_frames=24):
    codec = {"libx264": "h264", "libx265": "hevc"}[encoder]
    name = {"libx264": "-x264-params", "libx265": "-x265-params"}[encoder]
    content = encode_with(encoder, frames_of(num_frames), name, parameters, form=codec)
    packets = [bytes(packet) for packet in split_bitstream(content, codec).packets]
    assert len(packets) == num_frames
    return codec, tuple(packets)


HITS = {
    "header": lambda packet: damaged(packet, 6, len(packet)),
    "end": lambda packet: packet[: len(packet) // 2],
    "all": lambda packet: b"",
}


@pytest.mark.parametrize("hit", HITS)
@pytest.mark.parametrize(
    ("encoder", "parameters"),
    [(encoder, kinds[encoder]) for kinds in (WITHOUT_B, WITH_B) for encoder in kinds],
    ids=["h264", "hevc", "h264, B-frames", "hevc, B-frames"],
)
def test_what_is_damaged_is_shown_as_players_do_marked_and_counted(hevc_reader, tmp_path, encoder, parameters, hit):
    codec, packets = packets_of(encoder, parameters)
    sound = decoded_bytes(packets, codec, tmp_path)
    packets = [*packets[:8], HITS[hit](packets[8]), *packets[9:]]  # in the second GOP, where others refer to it
    shown = decoded_bytes(packets, codec, tmp_path)
    path = tmp_path / f"own.{codec}"
    video, followed = read(path)
    damage = video.damage
    np.testing.assert_array_equal(planes(followed), shown)  # what FFmpeg shows, and in its order
    with av.open(str(path)) as container:
        assert len(followed) + damage.num_lost == sum(packet.size > 0 for packet in container.demux(video=0))
    assert (damage.num_places, len(damage.messages)) == (1, 1)
    assert damage.num_damaged == sum(frame.is_damaged for frame in followed) <= 5
    places, keyframe = {frame.tobytes(): place for place, frame in enumerate(sound)}, 0
    for frame, pixels in zip(followed, planes(followed), strict=True):
        if frame.is_damaged:
            assert (frame.distance, frame.keyframe_reason, frame.motion_qpel) == (0, "damage", None)
            continue
        place = places[pixels.tobytes()]  # it is one of the sound frames
        if frame.distance:  # at the end of a chain of such
            np.testing.assert_allclose(middle(frame.motion_qpel), np.multiply(place - keyframe, STEP), atol=1)
        else:
            keyframe = place


@pytest.mark.parametrize("parameters", [WITHOUT_B["libx264"], WITH_B["libx264"]], ids=["P", "B"])
def test_any_damage_leaves_what_ffmpeg_shows(tmp_path, parameters):
    """Flipped, cut and lost bytes of H.264, which has no hashes: there is an answer, and all frames are in it."""
    _, packets = packets_of("libx264", parameters, 12)
    num_marked = 0
    for seed in range(NUM_DAMAGES):
        path = tmp_path / "own.h264"
        path.write_bytes(mutated(b"".join(packets), seed))
        try:
            video, followed = read(path)
        except CodecError:
            with pytest.raises((av.error.FFmpegError, StopIteration)):
                next(iter(decoded(path)))
            continue
        num_marked += bool(video.damage.num_places)
        try:
            shown = decoded(path)
        except av.error.FFmpegError:  # PyAV's own loop ends at a packet that cannot be decoded
            continue
        assert len(followed) == len(shown), seed
        assert all(np.array_equal(*pair) for pair in zip(planes(followed), shown, strict=True)), seed
    assert num_marked > 0.4 * NUM_DAMAGES


def decoded_bytes(packets, codec, folder):
    path = folder / f"own.{codec}"
    path.write_bytes(b"".join(packets))
    return decoded(path)


def test_hashes_find_damage_that_the_decoder_does_not(hevc_reader, tmp_path):
    codec, packets = packets_of("libx265", f"{WITHOUT_B['libx265']}:hash=1")
    hit = damaged(packets[8], len(packets[8]) // 3, len(packets[8]) - 40)
    decoded_bytes([*packets[:8], hit, *packets[9:]], codec, tmp_path)
    _, followed = read(tmp_path / "own.hevc", motion="reencode")  # without libde265, which may notice as well
    assert [frame.index for frame in followed if frame.is_damaged] == [8, 9, 10, 11]


@pytest.mark.parametrize("suffix", [".ts", ".mp4", ".mkv", ".264"])
def test_a_truncated_video_is_read_up_to_there(tmp_path, suffix):
    path = p_only_video(tmp_path / f"own{suffix}", frames_of(24), gop=6)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    _, followed = read(path)
    assert 6 <= len(followed) < 24
    assert [p.distance for p in followed[:6]] == list(range(6))


def test_an_edit_list_cuts_frames_away(tmp_path):
    source = write_video(tmp_path / "whole.mkv", frames_of(12), "-x264-params", "bframes=2:b-adapt=0:keyint=12")
    path = tmp_path / "own.mp4"
    ffmpeg("-ss", "0.15", "-i", source, "-c", "copy", path)
    shown = decoded(path)
    video, followed = read(path)
    np.testing.assert_array_equal(planes(followed), shown)
    assert (video.damage.num_cut, video.damage.num_lost) == (12 - len(shown), 0)
    assert 0 < len(shown) < 12
    np.testing.assert_allclose(np.diff([frame.seconds for frame in followed]), 1 / 30, atol=1e-3)


def test_a_stream_may_appear_late(tmp_path, caplog):
    source = p_only_video(tmp_path / "own.264", frames_of(30), gop=6)
    # Padding, so that FFmpeg opens the video before it sees the second part.
    padded = "-r", 30, "-i", source, "-f", "lavfi", "-i", "anullsrc", "-shortest", "-muxrate", "48M"
    ffmpeg(*padded, "-map", "0:v", "-c:v", "copy", tmp_path / "first.ts")
    ffmpeg(
        *padded, "-c:v", "copy", "-mpegts_flags", "initial_discontinuity", "-tables_version", 1, tmp_path / "late.ts"
    )
    path = tmp_path / "own.ts"
    path.write_bytes((tmp_path / "first.ts").read_bytes() + (tmp_path / "late.ts").read_bytes())
    with av.open(str(path)) as container:
        assert len(container.streams) == 1
    _, followed = read(path)
    assert len(followed) == 60
    assert "the container has more streams at its end than at its beginning" in caplog.text


def ffmpeg(*words):
    subprocess.run([find_ffmpeg(), "-loglevel", "error", *map(str, words)], check=True)


def test_every_frame_is_accounted_for(tmp_path):
    content = p_only_video(tmp_path / "own.264", frames_of(4)).read_bytes()
    stream = split_bitstream(content, "h264")
    frames = list(stream.frames())
    with pytest.raises(AssertionError, match="frame 0 is not the next one to be shown"):
        stream.show(frames[1])
    stream = split_bitstream(content, "h264")
    for frame in list(stream.frames())[:3]:
        stream.show(frame)
    with pytest.raises(AssertionError, match="of 4 decoded frames, 3 were shown: arseg has lost some"):
        stream.finish()


def test_a_disk_that_fails_on_the_way_is_no_end(tmp_path):
    """FFmpeg says of some truncated files what the system says of failing disks."""
    content = p_only_video(tmp_path / "own.264", frames_of(4)).read_bytes()

    def packets():
        yield from list(split_bitstream(content, "h264").packets)[:2]
        raise av.error.OSError(errno.EIO, "Input/output error")

    truncated = PacketStream("h264", packets(), path=tmp_path / "own.264")
    assert len(list(truncated.frames())) == 2
    assert "Input/output error" in truncated.damage.ended_early
    failing = tmp_path / "failing.264"
    failing.symlink_to(NO_MEMORY_THERE)
    with pytest.raises(FileAccessError, match=r"failing\.264: cannot be read \(Input/output error\)"):
        list(PacketStream("h264", packets(), path=failing).frames())


def test_a_stream_that_is_joined_in_its_middle_begins_at_a_keyframe(tmp_path):
    codec, packets = packets_of("libx264", P_GOP, 12)
    decoded_bytes(packets[4:], codec, tmp_path)
    video, followed = read(tmp_path / "own.h264")
    assert len(followed) == 6
    assert video.damage.num_lost == 2
    assert not video.reencoded_because


def test_a_start_without_a_keyframe_is_told(tmp_path, caplog):
    codec, packets = packets_of("libx264", "bframes=0:ref=1:intra-refresh=1:keyint=6")
    shown = decoded_bytes(packets[3:], codec, tmp_path)
    with caplog.at_level("INFO"):
        video, followed = read(tmp_path / "own.h264")
    np.testing.assert_array_equal(planes(followed), shown)
    assert followed[0].keyframe_reason == "start"
    assert 0 < video.damage.num_lost == 21 - len(followed) < 20
    assert caplog.text.count("the first frame that is shown is no keyframe") == 1


def test_leading_frames_at_the_beginning_are_left_out_and_counted(hevc_reader, tmp_path):
    codec, packets = packets_of("libx265", "keyint=8:min-keyint=8:bframes=2:b-adapt=0:open-gop=1:scenecut=0")
    cra = 21
    first = max(n for n, packet in enumerate(packets) if any(unit[0] >> 1 == cra for unit in nal_units(packet)))
    shown = decoded_bytes(packets[first:], codec, tmp_path)
    video, followed = read(tmp_path / "own.hevc")
    np.testing.assert_array_equal(planes(followed), shown)
    assert 0 < video.damage.num_lost == 24 - first - len(followed)


@pytest.mark.parametrize("content", [b"", b"no video at all", bytes(1000)])
def test_what_is_no_video_is_refused(tmp_path, content):
    path = tmp_path / "own.264"
    path.write_bytes(content)
    with pytest.raises(CodecError, match=r"cannot be read as a video|no frame that can be decoded"):
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


@pytest.mark.parametrize("motion", ["auto", "reencode"])
def test_memory_does_not_grow_with_an_endless_gop(tmp_path, motion):
    path = p_only_video(tmp_path / "own.mkv", frames_of(60), gop=250)
    with open_video(path) as stream:
        for _ in LiveVideo(stream, Following(motion=motion), PAPER_RULES, Stopwatch()):
            assert len(stream._unshown) <= 2
            assert len(stream.account._pending) <= 2


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
