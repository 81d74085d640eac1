"""``arseg native``: the program that reads motion from HEVC."""

from pathlib import Path

from arseg.codec.native_build import build_native_reader, find_native_reader
from arseg.errors import CodecError
from arseg.provenance.recording import records


@records("native build", inputs=["source"], outputs=["record"])
def build(*, source: str | None = None, record: Path | None = None, force: bool = False) -> None:
    """Compile the HEVC reader into the cache, unless it is there.

    Parameters
    ----------
    source : str
        Source of libde265, 1.0.16 or newer: a folder, a tar archive, or a URL of one. By default pip downloads it
        from the package index.
    record : Path
        JSON file for what the program is and what it was made from.
    force : bool
        Compile again even if it is there.
    """
    reader = build_native_reader(source, force=force)
    if record is not None:
        reader.write(record)
    print(f"{reader.program}: {reader.version}")


def path() -> None:
    """Print where the HEVC reader is; fail if it has not been built."""
    program = find_native_reader()
    if program is None:
        raise CodecError("the HEVC reader has not been built. Build it: arseg native build")
    print(program)
