"""Pictures in folders and zip archives, and files out of archives in parts."""

from pathlib import PurePosixPath

import numpy as np
import pytest
from camvid_examples import write_zip

from arseg.data.archives import ImageSource, extract_only
from arseg.errors import DataError


def set_method(path, method):
    """Say in the headers of a zip archive's only file that it is packed by another method."""
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = content.index(signature) + offset
        content[place : place + 2] = method.to_bytes(2, "little")
    path.write_bytes(content)


@pytest.fixture
def video(tmp_path):
    """A file of a megabyte in a zip archive that is cut into three parts; gives its bytes and the parts."""
    content = np.random.default_rng(0).bytes(1_000_003)
    write_zip(tmp_path / "v.zip", {"folder/V.MXF": content, "readme.txt": b"hello"})
    whole = (tmp_path / "v.zip").read_bytes()
    parts = [tmp_path / f"v.zip.00{number}" for number in (1, 2, 3)]
    for part, piece in zip(parts, (whole[:7], whole[7:600_000], whole[600_000:]), strict=True):
        part.write_bytes(piece)
    return content, parts


def test_parts_are_read_as_one(video, tmp_path):
    content, parts = video
    extract_only(parts, (".mxf",), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == content


def flip_bit(path):
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda parts: parts[1].unlink(), r"v\.zip\.002: no such file.* give all of them, in order"),
        (lambda parts: parts.pop(), r"v\.zip\.001 \+ .*v\.zip\.002: truncated.* give all of them, in order"),
        (lambda parts: parts.reverse(), r"truncated, damaged or not a zip archive"),
        (lambda parts: parts[2].write_bytes(parts[2].read_bytes()[:-50]), r"truncated, damaged or not a zip archive"),
        (lambda parts: parts[1].write_bytes(parts[1].read_bytes()[:-999]), r"v\.zip\.003: truncated, damaged or no"),
        (lambda parts: flip_bit(parts[1]), r"v\.zip\.003: truncated.* \(Bad CRC-32 for file 'folder/V\.MXF'\)"),
    ],
    ids=["missing", "left out", "disordered", "without its end", "truncated", "damaged"],
)
def test_missing_and_broken_parts_are_refused(video, tmp_path, damage, message):
    _, parts = video
    damage(parts)
    with pytest.raises(DataError, match=message):
        extract_only(parts, (".mxf",), tmp_path / "out")


def test_an_archive_without_or_with_two_videos_is_refused(tmp_path):
    for names, found in ((["a.txt"], "0 among a"), (["a.avi", "b.avi"], r"2 among a\.avi, b\.avi")):
        write_zip(tmp_path / "a.zip", dict.fromkeys(names, b""))
        message = rf"a\.zip: expected one file with the suffix \.mxf or \.avi in it, found {found}"
        with pytest.raises(DataError, match=message):
            extract_only([tmp_path / "a.zip"], (".mxf", ".avi"), tmp_path / "out")


def test_folder_and_archive_are_read_alike(tmp_path):
    files = {"top/b.png": b"2", "top/deep/a.png": b"1", "top/notes.txt": b"", "__MACOSX/top/._b.png": b"x"}
    write_zip(tmp_path / "p.zip", {f"./{name}": content for name, content in files.items()})  # as some programs do
    for name, content in files.items():
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_bytes(content)
    for path in (tmp_path / "p.zip", tmp_path / "p"):
        source = ImageSource(path)
        assert source.members == (PurePosixPath("top/b.png"), PurePosixPath("top/deep/a.png"))
        assert [content for _, content in source.read(source.members)] == [b"2", b"1"]


def test_what_holds_no_pictures_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: no such file or folder"):
        ImageSource(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no PNG picture"):
        ImageSource(tmp_path)
    (tmp_path / "page.zip").write_text("<html>404</html>")
    with pytest.raises(DataError, match=r"page\.zip: truncated, damaged or not a zip archive"):
        ImageSource(tmp_path / "page.zip")


def test_packing_that_python_lacks_is_told(tmp_path):
    deflate64 = 9
    write_zip(tmp_path / "p.zip", {"a.png": b"picture"})
    set_method(tmp_path / "p.zip", deflate64)
    with pytest.raises(DataError, match=r"p\.zip: cannot be unpacked here \(.*not supported\)\. Unpack it with"):
        extract_only([tmp_path / "p.zip"], (".png",), tmp_path / "out")
    source = ImageSource(tmp_path / "p.zip")
    with pytest.raises(DataError, match=r"p\.zip: cannot be unpacked here \(.*give what was in it"):
        list(source.read(source.members))
