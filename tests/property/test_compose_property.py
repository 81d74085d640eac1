import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from motion_examples import compose_motion

from arseg.codec.frame import num_blocks
from arseg.errors import MotionError
from arseg.motion.compose import MotionComposer

sides = st.integers(1, 13)
vectors = st.integers(-30, 30)
max_ref_backs = st.integers(1, 5)


@st.composite
def clips(draw, max_ref_back=5, min_frames=1, elements=vectors):
    """Block motion, references and size of a small clip; intra blocks and far references too."""
    height, width = draw(sides), draw(sides)
    shape = (draw(st.integers(min_frames, 7)), num_blocks(height), num_blocks(width))
    vectors_qpel = draw(hnp.arrays(np.int16, (*shape, 2), elements=elements))
    ref_back = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, max_ref_back)))
    return vectors_qpel, ref_back, height, width


def compose_pixel_by_pixel(vectors_qpel, ref_back, height, width, *, subpixel=False, max_ref_back=3):
    """The definition, word by word: places in the keyframe are in quarter pixels."""
    places = [[[(4 * x, 4 * y) for x in range(width)] for y in range(height)]]
    for frame in range(1, len(vectors_qpel)):
        places.append([[None] * width for _ in range(height)])
        for y in range(height):
            for x in range(width):
                mx, my = vectors_qpel[frame, y // 4, x // 4].tolist()
                back = int(ref_back[frame, y // 4, x // 4])
                if not 1 <= back <= max_ref_back:
                    mx, my, back = 0, 0, 1
                dx, dy = round(mx / 4), round(my / 4)  # Python's round is half to even
                column, row = min(max(x + dx, 0), width - 1), min(max(y + dy, 0), height - 1)
                place_x, place_y = places[max(0, frame - back)][row][column]
                if subpixel:
                    place_x = min(max(place_x + mx - 4 * dx, 0), 4 * (width - 1))
                    place_y = min(max(place_y + my - 4 * dy, 0), 4 * (height - 1))
                places[frame][y][x] = place_x, place_y
    identity = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    return np.array(places) - 4 * identity


@given(clips(), st.booleans(), max_ref_backs)
def test_composition_is_what_its_definition_says(clip, subpixel, max_ref_back):
    composed = compose_motion(*clip, subpixel=subpixel, max_ref_back=max_ref_back)
    assert composed.dtype == np.int16
    expected = compose_pixel_by_pixel(*clip, subpixel=subpixel, max_ref_back=max_ref_back)
    np.testing.assert_array_equal(composed, expected)


@given(clips(elements=st.integers(-32768, 32767)), st.booleans())
def test_any_vector_ends_inside_the_picture(clip, subpixel):
    *_, height, width = clip
    expected = compose_pixel_by_pixel(*clip, subpixel=subpixel)
    np.testing.assert_array_equal(compose_motion(*clip, subpixel=subpixel), expected)
    x, y = np.moveaxis(expected + 4 * np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1), -1, 0)
    assert 0 <= x.min() <= x.max() <= 4 * (width - 1)
    assert 0 <= y.min() <= y.max() <= 4 * (height - 1)


@given(clips(elements=st.integers(-7, 7).map(lambda pixels: 4 * pixels)))
def test_without_fractions_there_is_nothing_to_round(clip):
    np.testing.assert_array_equal(compose_motion(*clip, subpixel=True), compose_motion(*clip))


def test_fractions_add_up_without_rounding():
    # Three steps of 1.25 pixels to the right, far from the border: rounded 3 pixels, exactly 3.75.
    vectors_qpel = np.zeros((4, 2, 8, 2), np.int16)
    vectors_qpel[1:, ..., 0] = 5
    ref_back = np.ones((4, 2, 8), np.uint8)
    assert compose_motion(vectors_qpel, ref_back, 8, 32)[3, 4, 10].tolist() == [12, 0]
    assert compose_motion(vectors_qpel, ref_back, 8, 32, subpixel=True)[3, 4, 10].tolist() == [15, 0]


@given(clips(), max_ref_backs)
def test_a_restart_forgets_what_was_before(clip, max_ref_back):
    vectors_qpel, ref_back, height, width = clip
    composer = MotionComposer(height, width, max_ref_back=max_ref_back)
    for vectors_before, references_before in zip(vectors_qpel[::-1], ref_back[::-1], strict=True):
        composer.push(vectors_before, references_before)
    composer.restart()
    found = []
    for frame_motion, frame_ref_back in zip(vectors_qpel, ref_back, strict=True):
        composer.push(frame_motion, frame_ref_back)
        found.append(composer.compose())
    np.testing.assert_array_equal(np.stack(found), compose_motion(*clip, max_ref_back=max_ref_back))


def test_misfits_are_refused():
    message = r"shape \(3, 4, 2\) with .*\(3, 5\) do not fit frames of 17x9: expected \(3, 5"
    with pytest.raises(MotionError, match=message):
        MotionComposer(9, 17).push(np.zeros((3, 4, 2), np.int16), np.zeros((3, 5), np.uint8))
    with pytest.raises(MotionError, match=r"8196x16: .* up to a side of 8192"):
        MotionComposer(16, 8196)


@given(clips())
def test_zero_motion_is_the_identity(clip):
    vectors_qpel, *rest = clip
    assert not compose_motion(np.zeros_like(vectors_qpel), *rest).any()


@given(clips(), st.integers(1, 5))
def test_a_frame_does_not_depend_on_those_behind_it(clip, length):
    vectors_qpel, ref_back, height, width = clip
    beginning = compose_motion(vectors_qpel[:length], ref_back[:length], height, width)
    np.testing.assert_array_equal(beginning, compose_motion(*clip)[:length])


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=4),
    st.integers(17, 32),
    st.integers(17, 32),
)
def test_integer_shifts_add_up_away_from_the_border(shifts_px, height, width):
    shape = (len(shifts_px) + 1, num_blocks(height), num_blocks(width))
    vectors_qpel = np.zeros((*shape, 2), np.int16)
    vectors_qpel[1:] = 4 * np.array(shifts_px)[:, None, None, :]
    composed = compose_motion(vectors_qpel, np.ones(shape, np.uint8), height, width)
    margin = 3 * len(shifts_px)
    interior = composed[-1, margin : height - margin, margin : width - margin]
    expected = 4 * np.sum(shifts_px, axis=0)
    assert (interior == expected).all()
    rows, columns = np.indices((height, width))
    x, y = columns + composed[-1, ..., 0] // 4, rows + composed[-1, ..., 1] // 4
    assert x.min() >= 0
    assert y.min() >= 0
    assert x.max() < width
    assert y.max() < height


@given(clips(max_ref_back=1, min_frames=2), st.data())
def test_chaining_in_two_halves_equals_chaining_once(clip, data):
    vectors_qpel, ref_back, height, width = clip
    cut = data.draw(st.integers(0, len(vectors_qpel) - 1), label="cut")
    first = compose_motion(vectors_qpel[: cut + 1], ref_back[: cut + 1], height, width)[-1].astype(int)
    second = compose_motion(vectors_qpel[cut:], ref_back[cut:], height, width)[-1].astype(int)
    rows, columns = np.indices((height, width))
    joined = second + first[rows + second[..., 1] // 4, columns + second[..., 0] // 4]
    np.testing.assert_array_equal(joined, compose_motion(*clip)[-1])
