"""Name the programs that motion vectors come from, for the record."""

from importlib.metadata import version

import av

from arseg.codec.native_build import ensure_native_reader, reader_version


def describe_decoder(codec: str) -> str:
    """Versions of what decodes a coding standard, for example ``FFmpeg 9.0.2 (PyAV 18.0.0), libde265 1.0.16``.

    Parameters
    ----------
    codec : str
        FFmpeg's name of the standard.

    Returns
    -------
    decoder : str
        FFmpeg and PyAV, and for HEVC the program that reads its vectors.

    Raises
    ------
    CodecError
        If HEVC's reader is not there and cannot be built.
    """
    decoder = f"FFmpeg {av.ffmpeg_version_info} (PyAV {version('av')})"
    return f"{decoder}, {reader_version(ensure_native_reader())}" if codec == "hevc" else decoder
