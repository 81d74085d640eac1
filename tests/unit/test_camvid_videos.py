"""CamVid's videos to numbered frames: how FFmpeg numbers, and what is refused."""

from fractions import Fraction

import av
import numpy as np
import pytest
from camvid_examples import HEIGHT, VIDEOS, WIDTH, write_video, write_zip
from PIL import Image
from video_examples import moving_texture

from arseg.cli.camvid import frames
from arseg.codec.video import extract_frames
from arseg.errors import CodecError


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder with 01TP_extract.avi and 0006R0.MXF."""
    folder = tmp_path_factory.mktemp("videos")
    for sequence in ("0001TP", "0006R0"):
        name, num_frames, options = VIDEOS[sequence]
        write_video(folder / name, moving_texture(num_frames, HEIGHT, WIDTH, (2, 1)), options)
    return folder


def write_late_video(path, delay):
    """Four grey frames at 25 frames a second that start `delay` frames after the sound."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("ffv1", rate=25)
        picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "bgr0"
        sound = container.add_stream("pcm_s16le", rate=48_000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.int16), format="s16", layout="mono")
        silence.sample_rate, silence.pts, silence.time_base = 48_000, 0, Fraction(1, 48_000)
        container.mux(sound.encode(silence))
        for index, grey in enumerate((40, 80, 120, 160)):
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), grey, np.uint8), format="rgb24")
            frame.pts, frame.time_base = index + delay, Fraction(1, 25)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        container.mux(sound.encode())


@pytest.mark.parametrize(("delay", "greys"), [(0, [40, 80, 120, 160]), (1, [40, 40, 80, 120, 160])])
def test_the_first_frame_is_repeated_where_the_video_starts_later_than_the_sound(tmp_path, delay, greys):
    write_late_video(tmp_path / "late.mkv", delay)
    assert extract_frames(tmp_path / "late.mkv", tmp_path / "frames", "x_%06d.png") == len(greys)
    for index, grey in enumerate(greys, start=1):
        frame = np.asarray(Image.open(tmp_path / f"frames/x_{index:06d}.png"))
        assert frame.shape == (HEIGHT, WIDTH, 3)
        assert (frame == grey).all()


def frame_place(video, index):
    """Where a frame's bytes begin in the file."""
    with av.open(str(video)) as container:
        return [packet.pos for packet in container.demux(video=0) if packet.pos is not None][index]


def test_videos_that_are_cut_off_damaged_missing_or_none_leave_no_frames(videos, tmp_path):
    cut, place = (videos / "0006R0.MXF").read_bytes(), frame_place(videos / "0006R0.MXF", 16)
    damaged = bytearray((videos / "01TP_extract.avi").read_bytes())
    first = frame_place(videos / "01TP_extract.avi", 20) + 100
    damaged[first : first + 3900] = bytes(3900)
    for content, message in (
        # Cut between two frames, a video decodes without complaint; only its header tells.
        (cut[:place], "has 16 frames, but its header promises 32: it is cut off"),
        (cut[: place + 200], r"cannot be decoded; download it again\. FFmpeg said"),
        (damaged, r"cannot be decoded; download it again\. FFmpeg said"),
        (b"no video", "cannot be read as a video"),
        (None, "no such video"),
    ):
        video = tmp_path / "video"
        video.unlink(missing_ok=True)
        if content is not None:
            video.write_bytes(content)
        with pytest.raises(CodecError, match=rf"/video: {message}"):
            extract_frames(video, tmp_path / "frames", "x_%06d.png")
        assert not (tmp_path / "frames").exists()


def test_a_damaged_video_in_an_archive_is_named_by_the_archive(videos, tmp_path):
    place = frame_place(videos / "0006R0.MXF", 16)
    write_zip(tmp_path / "web.zip", {"0006R0.MXF": (videos / "0006R0.MXF").read_bytes()[:place]})
    with pytest.raises(CodecError, match=r"^\S*/web\.zip, unpacked to a temporary file: .*it is cut off"):
        frames([tmp_path / "web.zip"], sequence="0006R0", output=tmp_path / "frames/0006R0")
    assert not list((tmp_path / "frames").iterdir())


def test_a_missing_ffmpeg_is_told_before_anything_is_unpacked(tmp_path):
    with pytest.raises(CodecError, match=r"nowhere/ffmpeg: the FFmpeg program named by --ffmpeg does not exist"):
        frames([tmp_path / "gone.zip"], sequence="0006R0", output=tmp_path / "out/0006R0", ffmpeg="nowhere/ffmpeg")
    assert not list(tmp_path.iterdir())
