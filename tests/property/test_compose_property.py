import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from motion_examples import compose_evidence, compose_motion

from arseg.codec.frame import num_blocks
from arseg.errors import MotionError
from arseg.motion.compose import MotionComposer

sides = st.integers(1, 13)
vectors = st.integers(-30, 30)
max_ref_backs = st.integers(1, 5)


@st.composite
def clips(draw, elements=vectors):
    """Block motion, references and size of a small clip; intra blocks and far references too."""
    height, width = draw(sides), draw(sides)
    shape = (draw(st.integers(1, 7)), num_blocks(height), num_blocks(width))
    vectors_qpel = draw(hnp.arrays(np.int16, (*shape, 2), elements=elements))
    ref_back = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 5)))
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


def count_block_by_block(vectors_qpel, ref_back, height, width, *, max_ref_back=3):
    """The definition of the evidence, word by word: a block follows its middle, kept inside the frame."""
    counts = [np.zeros((*ref_back.shape[1:], 3), int)]
    for frame in range(1, len(vectors_qpel)):
        counts.append(np.zeros_like(counts[0]))
        for row, column in np.ndindex(ref_back.shape[1:]):
            back = int(ref_back[frame, row, column])
            still = not 1 <= back <= max_ref_back
            dx, dy = (0, 0) if still else (round(each / 4) for each in vectors_qpel[frame, row, column].tolist())
            x, y = min(4 * column + 2, width - 1) + dx, min(4 * row + 2, height - 1) + dy
            inside = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
            step = 1, still, (x, y) != inside
            before = counts[max(0, frame - (1 if still else back))]
            counts[frame][row, column] = before[inside[1] // 4, inside[0] // 4] + step
    return np.array(counts)


@given(clips(), max_ref_backs)
def test_evidence_is_what_its_definition_says(clip, max_ref_back):
    found = compose_evidence(*clip, max_ref_back=max_ref_back)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, count_block_by_block(*clip, max_ref_back=max_ref_back))


def test_evidence_is_counted_up_to_255():
    composer = MotionComposer(4, 8, with_evidence=True)
    for _ in range(400):
        composer.push(np.zeros((1, 2, 2), np.int16), np.array([[0, 1]], np.uint8))
    assert composer.evidence().tolist() == [[[255, 255, 0], [255, 0, 0]]]
    composer.restart()
    composer.push(np.zeros((1, 2, 2), np.int16), np.array([[0, 1]], np.uint8))
    assert not composer.evidence().any()
    assert MotionComposer(4, 8).evidence() is None


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
