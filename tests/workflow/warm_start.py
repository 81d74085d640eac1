"""`arseg` and `snakemake` for tests that start them many times, and kill them.

``python warm_start.py serve SOCKET PROCESS`` imports both once, PyTorch included, and forks a process for each command
that comes in, as long as the process of that number lives; ``python warm_start.py ask SOCKET PROGRAM WORDS...`` is
what stands on PATH as ``arseg``. The forked process is the command that a user runs, with its own session, folder,
environment and output. Where PROCESS is set, its number is written to the file of that name.

A command of `arseg` does to itself what the environment variable FAULTS names: a folder with a file for each fault,
whose name is that of a command ("train-phase1") and which holds the fault: ``kill N TEXT``, die by SIGKILL when
temporary files with TEXT in their paths are opened for the Nth time, or ``wait N TEXT``, stand still there until the
file is gone. The first command of the name takes the fault, and leaves a file with the suffix ``.taken``. Where CLOCK
is set, the clock jumps a day forward and back again all the time.
"""

import atexit
import gc
import importlib
import itertools
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

POLL_SECONDS = 0.02

PRELOADED = (
    *("matplotlib.pyplot", "snakemake.cli", "arseg.cli.main", "arseg.train.run"),
    *(f"arseg.cli.{name}" for name in ("clips", "evaluate", "curves", "panel", "tables", "train")),
)

GROUPS = ("manifest", "plot", "train")
"""Commands whose second word is part of their name."""


def serve(address: str, tests: int) -> list[str] | None:
    """Fork a process for each request; in the forked one, return the words of the command."""
    for module in PRELOADED:
        importlib.import_module(module)
    gc.freeze()  # what is there already is in no garbage, and stays shared between processes
    running: dict[int, socket.socket] = {}
    with socket.socket(socket.AF_UNIX) as server, selectors.DefaultSelector() as selector:
        server.bind(address)
        server.listen(32)
        selector.register(server, selectors.EVENT_READ)
        while lives(tests):  # ends with the tests, however these end
            for _ in selector.select(POLL_SECONDS):
                client, _ = server.accept()
                process = os.fork()
                if process == 0:
                    return begin(client)
                running[process] = client
                client.sendall(f"{process}\n".encode())
            while running:
                process, status = os.waitpid(-1, os.WNOHANG)
                if process == 0:
                    break
                with running.pop(process) as client:
                    code = os.waitstatus_to_exitcode(status)
                    send_quietly(client, f"{code if code >= 0 else 128 - code}\n")
    return None


def lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def send_quietly(client: socket.socket, text: str) -> None:
    with suppress(BrokenPipeError):  # who asked was killed
        client.sendall(text.encode())


def begin(client: socket.socket) -> list[str]:
    """Become the command that was asked for."""
    os.setsid()
    content, descriptors, _, _ = socket.recv_fds(client, 1 << 20, 3)
    folder, variables, *words = content.decode().split("\0\0")
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(line.split("=", 1) for line in variables.split("\0"))
    if "OMP_NUM_THREADS" in os.environ:  # PyTorch asks for it when it is imported, which was long ago
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if "PROCESS" in os.environ:
        Path(os.environ.pop("PROCESS")).write_text(str(os.getpid()))
    if words[0] == "arseg" and "FAULTS" in os.environ:
        take_fault(Path(os.environ["FAULTS"]), words[1:])
    if words[0] == "arseg" and "CLOCK" in os.environ:
        now, days = time.time, itertools.cycle((0, 1, -1))
        time.time = lambda: now() + 86400 * next(days)
    return words


def take_fault(folder: Path, words: list[str]) -> None:
    """Arrange for what shall happen to this command, if anything."""
    name = "-".join(words[:2] if words[0] in GROUPS else words[:1])
    fault, taken = folder / name, folder / f"{name}.taken"
    try:
        action, count, text = fault.read_text().split()
        os.close(os.open(taken, os.O_CREAT | os.O_EXCL))
    except (FileNotFoundError, FileExistsError):
        return
    left = int(count)

    def strike(event: str, details: tuple[object, ...]) -> None:
        nonlocal left
        if event not in ("open", "os.mkdir") or not all(part in str(details[0]) for part in (".partial", text)):
            return
        left -= 1
        if left:
            return
        taken.write_text(f"{os.getpid()} {details[0]}")
        if action == "kill":
            os.killpg(0, signal.SIGKILL)
        while fault.exists():
            time.sleep(POLL_SECONDS)

    sys.addaudithook(strike)


def ask(address: str, words: list[str]) -> int:
    """Have a command run; pass signals on to it, and return its exit code."""
    variables = "\0".join(f"{name}={value}" for name, value in os.environ.items())
    content = "\0\0".join([str(Path.cwd()), variables, *words]).encode()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address)
        socket.send_fds(client, [content], [0, 1, 2])
        with client.makefile() as answers:
            process = int(answers.readline())
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
                signal.signal(number, lambda number, _: os.kill(process, number))
            return int(answers.readline() or 255)


def run(words: list[str]) -> int:
    """Run a command to its end, and return its exit code."""
    program = sys.modules["snakemake.cli" if words[0] == "snakemake" else "arseg.cli.main"]
    sys.argv = [str(Path(sys.executable).with_name(words[0])), *words[1:]]
    try:
        program.main(words[1:])
    except SystemExit as exit_:
        return int(exit_.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def leave(code: int) -> None:
    """End the process; Python would first take all that was imported apart, which takes seconds."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    if sys.argv[1] == "ask":
        sys.exit(ask(sys.argv[2], sys.argv[3:]))
    command = serve(sys.argv[2], int(sys.argv[3]))
    if command is not None:
        leave(run(command))
