import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from arseg.codec.clip import num_blocks
from arseg.motion.compose import compose_motion

sides = st.integers(1, 13)
vectors = st.integers(-30, 30)


@st.composite
def clips(draw, max_ref_back=5, min_frames=1):
    """Block motion, references and size of a small clip; intra blocks and references past the third too."""
    height, width = draw(sides), draw(sides)
    shape = (draw(st.integers(min_frames, 6)), num_blocks(height), num_blocks(width))
    motion_qpel = draw(hnp.arrays(np.int16, (*shape, 2), elements=vectors))
    ref_back = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, max_ref_back)))
    return motion_qpel, ref_back, height, width


def compose_pixel_by_pixel(motion_qpel, ref_back, height, width):
    """The definition, word by word."""
    places = [[[(x, y) for x in range(width)] for y in range(height)]]
    for frame in range(1, len(motion_qpel)):
        places.append([[None] * width for _ in range(height)])
        for y in range(height):
            for x in range(width):
                (dx, dy), back = (
                    motion_qpel[frame, y // 4, x // 4].tolist(),
                    int(ref_back[frame, y // 4, x // 4]),
                )
                if not 1 <= back <= 3:
                    dx, dy, back = 0, 0, 1
                # Python's round is half to even.
                source_x = min(max(x + round(dx / 4), 0), width - 1)
                source_y = min(max(y + round(dy / 4), 0), height - 1)
                places[frame][y][x] = places[max(0, frame - back)][source_y][source_x]
    identity = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    return 4 * (np.array(places) - identity)


@given(clips())
def test_composition_is_what_its_definition_says(clip):
    composed = compose_motion(*clip)
    assert composed.dtype == np.int16
    np.testing.assert_array_equal(composed, compose_pixel_by_pixel(*clip))


@given(clips())
def test_zero_motion_is_the_identity(clip):
    motion_qpel, *rest = clip
    assert not compose_motion(np.zeros_like(motion_qpel), *rest).any()


@given(clips(), st.integers(1, 5))
def test_a_frame_does_not_depend_on_those_behind_it(clip, length):
    motion_qpel, ref_back, height, width = clip
    beginning = compose_motion(motion_qpel[:length], ref_back[:length], height, width)
    np.testing.assert_array_equal(beginning, compose_motion(*clip)[:length])


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=4),
    st.integers(17, 32),
    st.integers(17, 32),
)
def test_integer_shifts_add_up_away_from_the_border(shifts_px, height, width):
    shape = (len(shifts_px) + 1, num_blocks(height), num_blocks(width))
    motion_qpel = np.zeros((*shape, 2), np.int16)
    motion_qpel[1:] = 4 * np.array(shifts_px)[:, None, None, :]
    composed = compose_motion(motion_qpel, np.ones(shape, np.uint8), height, width)
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
    motion_qpel, ref_back, height, width = clip
    cut = data.draw(st.integers(0, len(motion_qpel) - 1), label="cut")
    first = compose_motion(motion_qpel[: cut + 1], ref_back[: cut + 1], height, width)[-1].astype(int)
    second = compose_motion(motion_qpel[cut:], ref_back[cut:], height, width)[-1].astype(int)
    rows, columns = np.indices((height, width))
    joined = second + first[rows + second[..., 1] // 4, columns + second[..., 0] // 4]
    np.testing.assert_array_equal(joined, compose_motion(*clip)[-1])
