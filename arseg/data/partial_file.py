"""What is there of a download that is not finished, and where it comes from."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Origin:
    """Where the bytes of a part come from, and what its server said of the whole file."""

    url: str
    etag: str = ""
    last_modified: str = ""
    num_bytes: int | None = None

    @property
    def condition(self) -> str:
        """Value of ``If-Range`` with which a server continues this file only; empty if it has no such mark."""
        # A weak ETag stands for files of one meaning, not of the same bytes: HTTP forbids it here.
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified

    def is_unchanged(self, later: "Origin") -> bool:
        """Tell whether a later answer describes the same file; a size that was not told says nothing."""
        same_size = None in (self.num_bytes, later.num_bytes) or self.num_bytes == later.num_bytes
        return same_size and self == replace(later, num_bytes=self.num_bytes)


class PartialFile:
    """The bytes that are there so far, in ``<output>.part``, and their origin, in ``<output>.part.json``.

    Parameters
    ----------
    output : Path
        Where the whole file will be.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self.path = output.with_name(f"{output.name}.part")
        self._origin_path = output.with_name(f"{output.name}.part.json")

    @property
    def size(self) -> int:
        """Bytes that are there; 0 if nothing is."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def origin(self) -> Origin | None:
        """Where they come from; None where nobody knows."""
        try:
            return Origin(**json.loads(self._origin_path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # a kill may leave half a record
            return None

    def restart(self, origin: Origin) -> None:
        """Forget what is there; the next bytes are the first ones of another origin."""
        self.discard()
        self._origin_path.write_text(json.dumps(asdict(origin)), encoding="utf-8")

    def discard(self) -> None:
        """Delete the bytes and their origin."""
        # The bytes go first: without an origin they would pass for anybody's.
        self.path.unlink(missing_ok=True)
        self._origin_path.unlink(missing_ok=True)

    def finish(self) -> None:
        """Make the part the output."""
        self.path.replace(self._output)
        self._origin_path.unlink(missing_ok=True)
