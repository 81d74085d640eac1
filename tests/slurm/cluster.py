"""A SLURM cluster on this machine alone: a controller and two compute daemons on loopback, each with a fake GPU.

Needs Debian's packages slurm-wlm and munge, and root, whom the daemons run as. By hand::

    python tests/slurm/cluster.py       # prints what to export, and stops with Ctrl-C
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scontrol", "squeue")
SEARCHED = f"{os.environ['PATH']}:/usr/sbin"
GPUS = NODES = 2

CONFIGURATION = """\
ClusterName=arseg
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
# A job that is put back into the queue may start again once its first start's credential has expired.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
# No control groups, no accounting database: a container has neither.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=1,bf_interval=1
KillWait=10
OverTimeLimit=0
MinJobAge=3600
GresTypes=gpu
{nodes}
PartitionName=compute Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Cluster:
    """A running cluster."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to find this cluster."""
        return {"SLURM_CONF": f"{self.folder}/slurm.conf", "PATH": f"{self.folder}/bin:{SEARCHED}"}

    def command(self, *words: str) -> str:
        """Run one of SLURM's commands and give what it prints."""
        run = subprocess.run(words, env=os.environ | self.environment, capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"{words}: {run.stderr}"
        return run.stdout

    def jobs(self) -> list[dict[str, str]]:
        """What the controller knows of each job, running or finished; tasks of an array are jobs."""
        records = self.command("scontrol", "show", "job", "--oneliner").splitlines()
        jobs = [dict(word.split("=", 1) for word in record.split() if "=" in word) for record in records]
        return [job for job in jobs if "JobId" in job]  # without any, a sentence says so


def missing_programs() -> list[str]:
    """Name what is not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=SEARCHED) is None]


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[Cluster]:
    """Start a cluster in a folder, and stop it at the end, whatever happens."""
    assert os.getuid() == 0, "the daemons of SLURM run as root"
    cluster = Cluster(folder)
    _configure(folder)
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "seed", "log")]
    daemons = {
        "munged": ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge],
        "slurmctld": ["slurmctld", "-D"],
        **{f"node{index}": ["slurmd", "-D", "-N", f"node{index}"] for index in range(1, NODES + 1)},
    }
    environment = os.environ | cluster.environment
    with ExitStack() as running:
        for name, command in daemons.items():
            log = running.enter_context((folder / f"{name}.output.log").open("w"))
            daemon = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            running.callback(_stop, daemon)
            if name == "munged":
                _wait((folder / "munge.socket").exists, folder)
        _wait(lambda: cluster.command("sinfo", "--noheader", "--format=%D %t").split() == [str(NODES), "idle"], folder)
        try:
            yield cluster
        finally:
            subprocess.run(["scancel", "--user=root"], env=environment, check=False)
            time.sleep(1)


def _configure(folder: Path) -> None:
    for name in ("state", "bin", *(f"spool-node{index}" for index in range(1, NODES + 1))):
        (folder / name).mkdir(parents=True)
    ports = _free_ports(1 + NODES)
    nodes = [
        f"NodeName=node{index} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=20000 Gres=gpu:1"
        for index, port in enumerate(ports[1:], 1)
    ]
    text = CONFIGURATION.format(folder=folder, ports=ports, nodes="\n".join(nodes))
    (folder / "slurm.conf").write_text(text)
    gpus = []
    for index in range(1, NODES + 1):
        device = folder / f"gpu{index}"
        device.touch()  # SLURM wants a file that is there, and does not open it
        gpus.append(f"NodeName=node{index} Name=gpu File={device}\n")
    (folder / "gres.conf").write_text("".join(gpus))
    # Within a job, Snakemake's executor takes SLURM's variables out of the environment of srun, this one too.
    srun = folder / "bin/srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun", path=SEARCHED)} "$@"\n')
    srun.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as sockets:
        servers = [sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def _wait(ready: Callable[[], bool], folder: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if ready():
                return
        except AssertionError:
            pass
        if time.monotonic() > deadline:
            logs = "\n".join(f"{path}:\n{path.read_text()[-2000:]}" for path in sorted(folder.glob("*.log")))
            raise AssertionError(f"the cluster did not start\n{logs}")
        time.sleep(0.2)


def _stop(daemon: subprocess.Popen) -> None:
    daemon.terminate()
    try:
        daemon.wait(timeout=10)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place, slurm_cluster(Path(place)):
        print(f"export SLURM_CONF={place}/slurm.conf PATH={place}/bin:$PATH", flush=True)
        try:
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            pass
