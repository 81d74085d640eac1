"""Videos that are shown otherwise than they are coded: turned, mirrored, with square pixels, deinterlaced."""

import subprocess
from fractions import Fraction
from itertools import product

import h5py
import numpy as np
import pytest
from infer_examples import HEIGHT, STEP, WIDTH, frames_of, p_only_video, write_checkpoints, write_video
from PIL import Image
from video_examples import encode_with

from arseg.cli import segment as segment_command
from arseg.codec.color import RGBConverter
from arseg.codec.display import AS_CODED, Display
from arseg.codec.ffmpeg import find_ffmpeg
from arseg.codec.frame import to_rgb
from arseg.codec.stream import open_video
from arseg.motion.extract import extract_motion
from arseg.motion.file import MotionFile
from arseg.motion.live import Following, LiveVideo
from arseg.spec import PAPER_RULES
from arseg.stopwatch import Stopwatch

ORIENTATIONS = list(product((0, 90, 180, 270), (False, True)))


def ffmpeg(*words):
    return subprocess.run(
        [find_ffmpeg(), "-loglevel", "error", *map(str, words)], capture_output=True, check=True
    ).stdout


def read(path, rules=PAPER_RULES, **options):
    """Return the video after it was read, its frames, and these as they are shown."""
    converter = RGBConverter()
    with open_video(path) as stream:
        video = LiveVideo(stream, Following(**options), rules, Stopwatch())
        frames = list(video)
    return video, frames, [converter.convert(frame.pixels, frame.display) for frame in frames]


def coded_for(frames, rotation, is_mirrored):
    """Frames (T, H, W, 3) as they are coded to be shown upright after turning and mirroring."""
    frames = frames[:, :, ::-1] if is_mirrored else frames
    return np.ascontiguousarray(np.rot90(frames, rotation // 90, axes=(1, 2)))


def tag_display(source, path, rotation, is_mirrored):
    """Copy a video and say in its container how it is to be shown."""
    mirrored = ["-display_hflip:v:0"] if is_mirrored else []
    ffmpeg("-display_rotation:v:0", -rotation, *mirrored, "-i", source, "-c", "copy", path)
    return path


def middle(motion_qpel):
    """The motion that most of a frame has."""
    return tuple(np.median(motion_qpel[8:-8, 8:-8].reshape(-1, 2), axis=0))


@pytest.mark.parametrize("motion", ["stream", "reencode"])
@pytest.mark.parametrize(("rotation", "is_mirrored"), ORIENTATIONS)
def test_frames_and_motion_are_turned_by_the_display_matrix(tmp_path, rotation, is_mirrored, motion):
    frames = frames_of(4)
    coded = p_only_video(tmp_path / "coded.mp4", coded_for(frames, rotation, is_mirrored))
    path = tag_display(coded, tmp_path / "v.mp4", rotation, is_mirrored)
    _, found, shown = read(path, motion=motion)
    assert {frame.display for frame in found} == {Display(rotation, is_mirrored)}
    by_ffmpeg = np.frombuffer(ffmpeg("-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"), np.uint8)
    np.testing.assert_allclose(shown, by_ffmpeg.reshape(4, HEIGHT, WIDTH, 3), atol=80)  # colours at half the resolution
    assert np.abs(np.subtract(shown, frames, dtype=float)).mean() < 20
    for frame in found[1:]:
        assert frame.motion_qpel.shape == (HEIGHT, WIDTH, 2)
        assert middle(frame.motion_qpel) == tuple(4 * frame.distance * step for step in STEP)


def test_a_message_in_the_stream_may_say_how_it_is_shown(tmp_path):
    """Up to the next keyframe, whether FFmpeg repeats it or not."""
    frames = frames_of(4)
    turned = p_only_video(tmp_path / "turned.264", coded_for(frames, 90, False))
    turn = "h264_metadata=display_orientation=insert:rotate=-90"
    message = ffmpeg("-i", turned, "-c", "copy", "-bsf:v", turn, "-f", "h264", "-")
    upright = p_only_video(tmp_path / "upright.264", frames)
    (tmp_path / "v.264").write_bytes(message + upright.read_bytes())
    _, found, shown = read(tmp_path / "v.264")
    assert [frame.display for frame in found] == 4 * [Display(90)] + 4 * [AS_CODED]
    assert [frame.distance for frame in found] == 2 * [0, 1, 2, 3]
    assert np.abs(np.subtract(shown, [*frames, *frames], dtype=float)).mean() < 20


def test_any_other_angle_is_the_nearest_quarter_turn(tmp_path):
    coded = p_only_video(tmp_path / "coded.mp4", frames_of(2))
    _, found, _ = read(tag_display(coded, tmp_path / "v.mp4", 97, False))
    assert found[0].display == Display(90)


@pytest.mark.parametrize(
    ("ratio", "shown_size", "factors"),
    [("2/1", (WIDTH * 2, HEIGHT), (2, 1)), ("3/4", (WIDTH, round(HEIGHT * 4 / 3)), (1, 85 / 64))],
)
@pytest.mark.parametrize("in_container", [False, True])
def test_pixels_become_square(tmp_path, ratio, shown_size, factors, in_container):
    frames = frames_of(4)
    path = p_only_video(tmp_path / ("coded.mp4" if in_container else "coded.264"), frames)
    if in_container:
        aspect = Fraction(ratio) * Fraction(WIDTH, HEIGHT)
        ffmpeg("-i", path, "-c", "copy", "-aspect", f"{aspect.numerator}:{aspect.denominator}", tmp_path / "v.mp4")
    else:
        ffmpeg("-i", path, "-c", "copy", "-bsf:v", f"h264_metadata=sample_aspect_ratio={ratio}", tmp_path / "v.h264")
    _, found, shown = read(tmp_path / ("v.mp4" if in_container else "v.h264"))
    assert {frame.display for frame in found} == {Display(pixel_aspect=Fraction(ratio))}
    for frame, view, rgb in zip(found, frames, shown, strict=True):
        expected = np.asarray(Image.fromarray(view).resize(shown_size, Image.Resampling.BICUBIC))
        assert np.abs(np.subtract(rgb, expected, dtype=float)).mean() < 20
        if frame.distance:
            moved = [round(4 * frame.distance * step * factor) for step, factor in zip(STEP, factors, strict=True)]
            assert middle(frame.motion_qpel) == tuple(moved)
            ends = np.moveaxis(np.indices(rgb.shape[:2])[::-1], 0, -1) * 4 + frame.motion_qpel
            assert ends.min() >= 0
            assert (ends.max(axis=(0, 1)) <= 4 * np.subtract(shown_size, 1)).all()


def test_the_shape_of_pixels_may_change(tmp_path):
    coded = p_only_video(tmp_path / "coded.264", frames_of(6))
    parts = []
    for ratio in ("1/1", "2/1"):
        message = f"h264_metadata=sample_aspect_ratio={ratio}"
        parts.append(ffmpeg("-i", coded, "-c", "copy", "-bsf:v", message, "-f", "h264", "-"))
    (tmp_path / "v.h264").write_bytes(b"".join(parts))
    _, found, shown = read(tmp_path / "v.h264", motion="reencode")
    assert [rgb.shape[:2] for rgb in shown] == 6 * [(HEIGHT, WIDTH)] + 6 * [(HEIGHT, 2 * WIDTH)]
    assert [frame.distance for frame in found] == 2 * list(range(6))


@pytest.mark.parametrize(
    ("aspect", "size", "square"),
    [
        ("2", (96, 64), (192, 64)),
        ("4/3", (1440, 1080), (1920, 1080)),
        ("8/9", (720, 480), (720, 540)),
        ("2", (6000, 1000), (6000, 500)),  # would be too wide for motion in 16 bits
        ("1/9", (1, 8000), (1, 8000)),
    ],
)
def test_the_shorter_side_is_enlarged_within_limits(aspect, size, square):
    assert Display(pixel_aspect=Fraction(aspect)).square_size(*size) == square


def test_usual_videos_pay_nothing(tmp_path):
    """Upright, with square pixels, in BT.601 and progressive: what is decoded is what is converted."""
    video, found, shown = read(p_only_video(tmp_path / "v.mp4", frames_of(4)), motion="reencode")
    assert video.num_deinterlaced == 0
    for frame, rgb in zip(found, shown, strict=True):
        assert frame.display is AS_CODED
        np.testing.assert_array_equal(rgb, to_rgb(frame.pixels))
        assert frame.motion_qpel is None or frame.display.apply_to_motion(frame.motion_qpel) is frame.motion_qpel


def test_all_outputs_are_upright_with_square_pixels(tmp_path):
    shown = np.asarray([Image.fromarray(frame).resize((WIDTH, HEIGHT)) for frame in frames_of(4)])
    coded = coded_for(shown, 90, True)[:, ::2]  # half as many rows; turned, that is half as many columns
    options = ["-x264-params", "bframes=0:ref=1:keyint=6:qp=0", "-vf", "setsar=1/2"]
    path = tag_display(write_video(tmp_path / "c.mp4", coded, *options), tmp_path / "v.mp4", 90, True)
    assert read(path)[1][0].display == Display(90, True, Fraction(1, 2))
    checkpoints = write_checkpoints(tmp_path)
    names = ["o.mp4", "o.h5", "o.json", "pngs"]
    segment_command.segment(
        str(path), checkpoint=[checkpoints], scale_percent=50, output=[tmp_path / name for name in names], device="cpu"
    )
    with h5py.File(tmp_path / "o.h5") as file:
        assert file["part0/labels"].shape == (4, HEIGHT, WIDTH)
        np.testing.assert_array_equal(Image.open(tmp_path / "pngs/000002.png"), file["part0/labels"][2])
    assert f'"width": {WIDTH}, "height": {HEIGHT}' in (tmp_path / "o.json").read_text().replace("\n", "")
    _, written, overlays = read(tmp_path / "o.mp4")
    assert written[0].display is AS_CODED
    assert np.corrcoef(overlays[0].ravel(), shown[0].ravel())[0, 1] > 0.5


def interlaced(num_frames):
    """Frames whose odd rows were seen half a frame later, and those that were seen with the even rows."""
    fields = frames_of(2 * num_frames)
    woven = fields[::2].copy()
    woven[:, 1::2] = fields[1::2, 1::2]
    return woven, fields[::2]


@pytest.mark.parametrize("num_frames", [1, 2, 9])
@pytest.mark.parametrize("rules", [PAPER_RULES, None])
def test_interlaced_video_is_deinterlaced_frame_by_frame(tmp_path, caplog, num_frames, rules):
    woven, seen = interlaced(num_frames)
    path = write_video(tmp_path / "v.mp4", woven, "-flags", "+ildct+ilme", "-x264-params", "tff=1:qp=4:bframes=2")
    with caplog.at_level("INFO"):
        video, found, shown = read(path, rules)
    assert len(found) == video.num_deinterlaced == num_frames
    assert caplog.text.count("frame 0 is interlaced; such frames are deinterlaced") == 1
    assert [frame.seconds for frame in found] == pytest.approx([number / 30 for number in range(num_frames)], abs=1e-4)
    if num_frames == 9:
        combs, without, before = (
            np.abs(np.diff(each, 2, axis=1)).mean() for each in np.array([shown, seen, woven], int)
        )
        assert combs < (without + before) / 2
        assert rules is None or "is interlaced" in video.reencoded_because


def test_interlaced_frames_may_follow_progressive_ones(tmp_path):
    woven, seen = interlaced(4)
    progressive = encode_with("libx264", seen, "-bf", "0", form="h264")
    combed = encode_with("libx264", woven, "-bf", "0", "-flags", "+ildct+ilme", form="h264")
    (tmp_path / "v.264").write_bytes(progressive + combed + progressive)
    video, found, _ = read(tmp_path / "v.264")
    assert (len(found), video.num_deinterlaced) == (12, 4)


def test_motion_files_stay_as_coded_and_say_how_frames_are_shown(tmp_path):
    coded = p_only_video(tmp_path / "c.mp4", coded_for(frames_of(3), 270, True))
    path = tag_display(coded, tmp_path / "v.mp4", 270, True)
    extract_motion(str(path), tmp_path / "motion.h5", composed=True)
    with MotionFile(tmp_path / "motion.h5") as file:
        told = file.attributes
        assert (told.rotation, told.mirrored, told.sample_aspect_ratio) == (270, True, "1/1")
        assert file.read(1).motion_qpel.shape == (WIDTH, HEIGHT, 2)
