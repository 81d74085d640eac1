"""Whatever is written as a manifest is read back; whatever a file is called, its pattern names it."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from arseg.data.manifest import TEACHER, ManifestRow, read_manifest, write_manifest
from arseg.datasets.frames.manifest import list_frames
from arseg.spec import SegmentationClass

# Commas, quotes, braces and letters beyond ASCII; cells are stripped, so no blanks at the ends.
WORDS = st.text(st.sampled_from("abcXYZ019_-.,;\"'{}äß é"), min_size=1, max_size=12).filter(
    lambda text: text == text.strip()
)
CHANNELS = st.integers(0, 255)


@st.composite
def rows(draw):
    index = draw(st.integers(0, 10**7))
    common = (draw(WORDS), draw(WORDS), draw(st.one_of(st.just(""), WORDS)), index)
    label = draw(st.one_of(st.just(""), WORDS))
    teacher = draw(st.sampled_from(["", TEACHER]))
    if draw(st.booleans()):
        return ManifestRow(*common, draw(WORDS), label, "", 0, labelled_by=teacher)
    pattern = draw(WORDS).replace("{", "{{").replace("}", "}}") + f"{{index:0{draw(st.integers(1, 9))}d}}.png"
    step = draw(st.integers(1, 5))
    return ManifestRow(*common, pattern.format(index=index), label, pattern, step, labelled_by=teacher)


@st.composite
def class_lists(draw):
    names = draw(st.lists(WORDS, min_size=1, max_size=20, unique=True))
    colors = st.tuples(CHANNELS, CHANNELS, CHANNELS)
    return tuple(SegmentationClass(index, name, draw(colors), draw(st.booleans())) for index, name in enumerate(names))


@given(
    st.lists(rows(), max_size=8, unique_by=lambda row: (row.split, row.sequence, row.frame_index)),
    class_lists(),
    st.randoms(),
)
def test_manifest_is_read_as_written_in_any_order(chosen, classes, order):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.csv"
        write_manifest(path, chosen, classes)
        manifest = read_manifest(path)
        order.shuffle(chosen)
        write_manifest(path, chosen, classes)
        again = read_manifest(path)
    assert manifest.rows == tuple(sorted(chosen))
    assert manifest.classes == classes
    assert again == manifest


@given(st.lists(st.text(st.sampled_from("ab019_-{}"), min_size=1, max_size=8), min_size=1, max_size=6, unique=True))
def test_pattern_of_every_numbered_frame_names_it(stems):
    with tempfile.TemporaryDirectory() as folder:
        for stem in stems:
            (Path(folder) / f"{stem}.png").touch()
        frames = list_frames(Path(folder))
        assert sorted(frame.path.stem for frame in frames) == sorted(stems)
        for frame in frames:
            assert bool(frame.pattern) == any(character.isdigit() for character in frame.path.stem)
            if frame.pattern:
                assert frame.pattern.format(index=frame.frame_index) == str(frame.path)
