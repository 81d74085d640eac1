"""The errors that a user can fix.

Each is raised with one message that names the file or config key, what was found, what was expected and how to
fix it. The command line prints that message and exits with 2; everything else is a bug and keeps its traceback.
"""


class ArsegError(Exception):
    """Base of all errors that a user can fix."""

    exit_code = 2
    """What the command line exits with."""


class ConfigError(ArsegError, ValueError):
    """A configuration key, or a command-line option, has a value that cannot work."""


class DataError(ArsegError, ValueError):
    """A data set, manifest, frame or label map is missing or does not fit."""


class CodecError(ArsegError, RuntimeError):
    """Encoding or decoding failed; carries the codec's own words."""


class MotionError(ArsegError, ValueError):
    """Motion vectors are missing or do not fit the pictures."""


class StoreError(ArsegError, ValueError):
    """A clip store or motion file is truncated, of another format version, or does not hold what was asked for."""


class CheckpointError(ArsegError, ValueError):
    """A checkpoint is unreadable or belongs to another network."""


class KernelError(ArsegError, RuntimeError):
    """A compiled part cannot be built or loaded on this machine, or does not take what it is given."""


class FileAccessError(ArsegError, OSError):
    """The operating system does not let a file be opened, read or written, which says nothing about its content.

    Parameters
    ----------
    errno : int
        The system's error number.
    message : str
        The message to the user.
    """

    def __str__(self) -> str:
        return str(self.strerror)


class DiskFullError(FileAccessError):
    """There is no space left to write to."""


class StoppedError(ArsegError):
    """A training was told to stop before its end, and has saved its state: the same command goes on."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again later
