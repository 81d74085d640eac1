"""Motion to the keyframe where frames are decoded in another order than they are shown."""

from itertools import pairwise

import numpy as np
import pytest
from video_examples import encode_with, encode_with_x265, moving_texture

from arseg.codec.frame import NO_REFERENCE, DecodedFrame, PredictionMode
from arseg.codec.stream import open_video
from arseg.motion.follow import KeyframeFollower
from arseg.motion.live import Following, LiveVideo
from arseg.spec import PAPER_RULES
from arseg.stopwatch import Stopwatch

HEIGHT, WIDTH = 16, 64
BLOCKS = HEIGHT // 4, WIDTH // 4
MIDDLE = np.s_[:, 16:48]


def frame(index, *references, ahead=(), is_keyframe=False, is_reference=True):
    """A frame that is predicted from frames (or from None) with vectors of so many pixels to the right."""
    vectors_qpel = np.zeros((2, *BLOCKS, 2), np.int16)
    ref_poc = np.full((2, *BLOCKS), NO_REFERENCE, np.int32)
    for number, (reference, right_px) in enumerate(references):
        if reference is not None:
            vectors_qpel[number, ..., 0], ref_poc[number] = 4 * right_px, reference
    return DecodedFrame(
        index=index,
        poc=index,
        kind="IPB"[len(references)],
        is_keyframe=is_keyframe,
        is_reference=is_reference,
        mode=np.full(BLOCKS, PredictionMode.INTER if references else PredictionMode.INTRA, np.uint8),
        vectors_qpel=vectors_qpel,
        ref_poc=ref_poc,
        pixels=None,
        height=HEIGHT,
        width=WIDTH,
        ahead=tuple(ahead),
    )


KEY = frame(0, is_keyframe=True)
P4 = frame(4, (0, 4))
CRA4 = frame(4, is_keyframe=True)
B2 = frame(2, (0, 2), (4, -3))


def followed(*frames, restarts=(0,), **options):
    """Pixels to the right that the middle of each frame comes from."""
    follower, found = KeyframeFollower(**options), []
    for shown in frames:
        motion_qpel = follower.compose(shown, follower.locate(shown), restart=shown.index in restarts)
        found.append(np.unique(motion_qpel[MIDDLE][..., 0] / 4).tolist())
    return found


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        # Of two lists the shorter chain: one step, rather than over frame 4.
        ([KEY, frame(2, (0, 2), (4, -3), ahead=[P4]), P4], [[0], [2], [4]]),
        ([KEY, frame(2, (4, -3), (0, 2), ahead=[P4]), P4], [[0], [2], [4]]),
        # Over a later frame, which was decoded before: -3 + 4.
        ([KEY, frame(2, (None, 0), (4, -3), ahead=[P4]), P4], [[0], [1], [4]]),
        # As long: list 0. Frame 3 comes from 2 (2 + 1) or from 4 (4 - 2).
        ([KEY, frame(2, (0, 2), (4, -3), ahead=[P4]), frame(3, (2, 1), (4, -2)), P4], [[0], [2], [3], [4]]),
        ([KEY, frame(2, (0, 2), (4, -3), ahead=[P4]), frame(3, (4, -2), (2, 1)), P4], [[0], [2], [2], [4]]),
        # Frame 1 comes from 2, which comes from 4: three levels in one decode order.
        ([KEY, frame(1, (None, 0), (2, -1), ahead=[P4, frame(2, (None, 0), (4, -3))]), P4], [[0], [0], [4]]),
        # A leading frame is followed into the frame before the keyframe that it leads, which is no chain to its own.
        ([KEY, frame(2, (4, -3), (0, 2), ahead=[CRA4])], [[0], [2]]),
        # What refers to that keyframe alone has no chain: it is taken to have moved on evenly since the last frame.
        ([KEY, frame(1, (0, 5)), frame(2, (None, 0), (4, -4), ahead=[CRA4])], [[0], [5], [7]]),
        # What refers to a frame that is not there counts as still.
        ([KEY, frame(1, (0, 5)), frame(2, (None, 0), (4, -3))], [[0], [5], [5]]),
        # A guess is worse than any number of steps: frame 5 is intra-coded, and still since frame 4.
        (
            [KEY, *(frame(n, (n - 1, 1)) for n in (1, 2, 3, 4)), frame(5), frame(6, (5, 9), (4, 1))],
            [[0], [1], [2], [3], [4], [4], [5]],
        ),
        # A frame that none refers to is not the one that others are still since.
        ([KEY, frame(1, (0, 5), is_reference=False), frame(2)], [[0], [5], [0]]),
    ],
)
def test_the_chain_of_a_block_in_decode_order(frames, expected):
    assert followed(*frames) == expected


def test_a_policys_keyframe_between_frames_that_chains_lead_past():
    """Frames 3 and 4 were predicted past frame 2: 4 from 0, 3 from 0 and 4."""
    frames = [KEY, frame(2, (0, 2), (4, -3), ahead=[P4]), frame(3, (0, 3), (4, -2)), P4, frame(5, (4, 1))]
    assert followed(*frames, restarts=(0, 2)) == [[0], [0], [1], [2], [3]]
    # Without reordering, what was before counts as the keyframe, as in the published programs.
    frames = [KEY, frame(1, (0, 2)), frame(2, (0, 7))]
    assert followed(*frames, restarts=(0, 1)) == [[0], [0], [7]]


def test_any_vector_ends_inside_the_frame_also_before_a_policys_keyframe():
    wild = [frame(2, (0, 8000), (4, -8000), ahead=[frame(4, (0, -8000))]), frame(3, (0, 8000), (4, 8000))]
    for position, shown in enumerate(followed(KEY, *wild, frame(5, (2, 8000), (0, 1)), restarts=(0, 2))):
        assert -WIDTH < min(shown) <= max(shown) < WIDTH, position


def test_frames_that_are_never_shown_are_dropped():
    """In a damaged stream; of all the others, motion is found as before."""
    frames = [
        frame(n, (n - 1, 0.25), (None, 0), ahead=[frame(n + more, (n - 1, 3)) for more in range(1000, 1020)])
        for n in range(1, 60)
    ]
    assert followed(KEY, *frames, subpixel=True)[1:] == [[n / 4] for n in range(1, 60)]
    assert followed(KEY, *frames, subpixel=True, restarts=(0, 30))[40] == [2.5]


def test_far_references_are_counted_in_frames_that_may_be_referred_to():
    """Frame 4 is the reference before frame 8 though it is four frames back, and frame 0 the third one."""
    mini_group = [frame(2, (0, 2), (4, -2), ahead=[P4]), frame(3, (2, 1), (4, -1), is_reference=False), P4]
    for reference, max_ref_back, expected in [(4, 1, 9), (0, 3, 5), (0, 2, 4)]:
        last = frame(8, (reference, 5))
        assert followed(KEY, *mini_group, last, max_ref_back=max_ref_back)[-1] == [expected]


def test_order_counts_may_begin_anew_while_frames_are_still_to_be_shown():
    """A frame of the new group has the order count of one before it."""
    again = [frame(n, *references, is_keyframe=n == 0) for n, references in enumerate(([], [(0, 3)], [(1, 3)]))]
    assert followed(KEY, frame(1, (0, 1)), frame(2, (1, 1)), *again) == [[0], [1], [2], [0], [3], [6]]


STEP = (2, 1)
GROUPS = "keyint=8:min-keyint=8:scenecut=0:b-adapt=0"
KINDS = {
    "B": ("yuv420p", "bframes=3:b-adapt=0:b-pyramid=0"),
    "pyramid": ("yuv420p", "bframes=4:b-adapt=0:b-pyramid=1:ref=2"),
    "open groups": ("yuv420p", f"{GROUPS}:bframes=3:open-gop=1"),
    "closed groups": ("yuv420p", f"{GROUPS}:bframes=3:open-gop=0"),
    "weighted": ("yuv420p", "bframes=3:weightb=1"),
    "Main 10": ("yuv420p10le", "bframes=3"),
    "Main 12": ("yuv420p12le", "bframes=3"),
    "4:2:2, 10 bits": ("yuv422p10le", "bframes=3"),
    "4:4:4": ("yuv444p", "bframes=3"),
    "grey": ("gray", "bframes=3"),
    "lossless": ("yuv444p", "bframes=3:lossless=1"),
}


def psnr(first, second):
    return 10 * np.log10(255**2 / max(0.1, np.mean((first.astype(float) - second) ** 2)))


def assert_motion_is_the_streams(path, num_frames, keyframes="coded,distance"):
    """Every frame comes, and the keyframe predicts it far better along the motion than without."""
    following = Following(keyframes)
    with open_video(path) as stream:
        video = LiveVideo(stream, following, PAPER_RULES, Stopwatch())
        frames = list(video)
    assert not video.reencoded_because
    assert (len(frames), video.damage.num_places) == (num_frames, 0)
    rows, columns = np.indices((frames[0].pixels.height, frames[0].pixels.width))
    gains = []
    for shown in frames:
        grey = shown.pixels.reformat(format="gray").to_ndarray()
        if not shown.distance:
            keyframe = grey
            continue
        x, y = np.moveaxis(shown.motion_qpel // 4, -1, 0)
        interior = np.s_[12:-12, 36:-36]  # whose source is in the keyframe
        warped = keyframe[rows + y, columns + x]
        gains.append(psnr(warped[interior], grey[interior]) - psnr(keyframe[interior], grey[interior]))
    assert len(gains) >= num_frames // 2
    assert np.median(gains) > 4
    assert np.mean(np.greater(gains, 3)) > 0.9
    return frames


@pytest.mark.usefixtures("hevc_reader")
@pytest.mark.parametrize("kind", KINDS)
def test_hevc_of_any_kind_is_followed_by_its_own_motion(kind, tmp_path):
    pix_fmt, parameters = KINDS[kind]
    path = tmp_path / "own.265"
    path.write_bytes(
        encode_with_x265(moving_texture(26, 96, 160, STEP), f"qp=20:hash=1:me=full:merange=24:{parameters}", pix_fmt)
    )
    frames = assert_motion_is_the_streams(path, 26)
    if "groups" in kind:
        distances = [shown.distance for shown in frames]
        assert all(after in (0, before + 1) for before, after in pairwise(distances))
        assert distances.count(0) >= 3
    assert_motion_is_the_streams(path, 26, keyframes="coded,distance=4")  # also where the stream has B-frames


def test_mpeg_2_with_b_frames_is_followed_by_its_own_motion(tmp_path):
    path = tmp_path / "own.mpg"
    path.write_bytes(
        encode_with("mpeg2video", moving_texture(24, 96, 160, STEP), "-bf", "2", "-q:v", "2", "-g", "12", form="mpeg")
    )
    assert_motion_is_the_streams(path, 24)
