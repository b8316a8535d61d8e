"""A real Slurm of two nodes on this machine, in a folder: munge, slurmctld and two slurmd."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
CONFIG = """\
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdTimeout=10
SlurmctldTimeout=10
ReturnToService=2
KillWait=10
InactiveLimit=0
MinJobAge=60
JobRequeue=1
SchedulerParameters=sched_interval=1,batch_sched_delay=0,requeue_setup_env_fail
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=4 RealMemory=8000 Gres=gpu:2 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=4 RealMemory=8000 Gres=gpu:2 State=UNKNOWN
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=60 State=UP OverSubscribe=NO
"""
GRES = "NodeName=n[1-2] Name=gpu File=/dev/zero\nNodeName=n[1-2] Name=gpu File=/dev/full\n"
PATIENCE_SECONDS = 60


def missing() -> list[str]:
    """Return which of Slurm's programs are not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=path_of_system()) is None]


def path_of_system() -> str:
    """Return where the programs are: servers are not on every user's path."""
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Slurm:
    """The cluster; `start` begins it, `end` ends every process of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = os.environ | {
            "PATH": path_of_system(),
            "SLURM_CONF": str(folder / "slurm.conf"),
        }

    def start(self) -> None:
        """Write the configuration, start the daemons, and wait until both nodes are idle."""
        self.folder.mkdir(parents=True, exist_ok=True)
        controller, first, second = free_ports(3)
        text = CONFIG.format(
            host=socket.gethostname(),
            folder=self.folder,
            user=os.environ.get("USER", "root"),
            controller=controller,
            first=first,
            second=second,
        )
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text(GRES)
        (self.folder / "state").mkdir(exist_ok=True)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        self.folder.chmod(0o755)
        munged = [
            "munged", "--force", "--foreground", f"--key-file={key}",
            f"--socket={self.folder}/munge.socket", f"--log-file={self.folder}/munged.log",
            f"--pid-file={self.folder}/munged.pid", f"--seed-file={self.folder}/munged.seed",
        ]  # fmt: skip
        self.daemon("munged", munged)
        self.until((self.folder / "munge.socket").exists, "munge")
        self.daemon("slurmctld", ["slurmctld", "-D", "-i", "-f", f"{self.folder}/slurm.conf"])
        for node in ("n1", "n2"):
            self.start_node(node)
        self.until(lambda: self.states() == {"n1": "idle", "n2": "idle"}, "two idle nodes")

    def daemon(self, name: str, command: Sequence[str]) -> None:
        """Start one daemon in the foreground of a session of its own."""
        with (self.folder / f"{name}.out").open("ab") as output:
            self.daemons[name] = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_node(self, node: str) -> None:
        """Start a node's daemon."""
        (self.folder / f"spool-{node}").mkdir(exist_ok=True)
        self.daemon(node, ["slurmd", "-D", "-N", node, "-f", f"{self.folder}/slurm.conf"])

    def kill_node(self, node: str) -> None:
        """End a node as a power cut would: its daemon, the steps it manages, and all they run."""
        daemon = self.daemons[node]
        doomed = {daemon.pid}
        for _ in range(3):  # while it dies it may start others
            doomed |= self.descendants(doomed | self.steps(node))
            for pid in doomed:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        daemon.wait()

    def steps(self, node: str) -> set[int]:
        """Return the processes that manage steps on a node: they hold its log open."""
        log = str(self.folder / f"slurmd-{node}.log")
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                name = (folder / "comm").read_text().strip()
                if name != "slurmstepd":
                    continue
                links = [str(link.readlink()) for link in (folder / "fd").iterdir()]
            except OSError:
                continue
            if log in links:
                found.add(int(folder.name))
        return found

    def descendants(self, pids: set[int]) -> set[int]:
        """Return processes with all their children, and theirs."""
        parents: dict[int, int] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            parents[int(folder.name)] = int(fields[1])
        found = set(pids)
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found

    def states(self) -> dict[str, str]:
        """Return the state of each node."""
        lines = self.said("sinfo", "--noheader", "-N", "--format=%N %T").splitlines()
        return dict(line.split()[:2] for line in lines)

    def said(self, *command: str) -> str:
        """Return what a command of Slurm prints."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        )
        return done.stdout

    def until(self, holds: object, what: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + seconds
        while not holds():  # type: ignore[operator]
            if time.monotonic() > deadline:
                logs = "\n".join(
                    f"{path.name}: {path.read_text(errors='replace')[-1500:]}"
                    for path in (*self.folder.glob("*.log"), *self.folder.glob("*.out"))
                )
                msg = f"waited {seconds:g} s for {what}\n{self.states()}\n{logs}"
                raise TimeoutError(msg)
            time.sleep(0.2)

    def end(self) -> None:
        """End everything."""
        self.said("scancel", "--state=RUNNING,PENDING", f"--user={os.environ.get('USER', 'root')}")
        steps = self.steps("n1") | self.steps("n2")
        for daemon in reversed(list(self.daemons.values())):
            for pid in self.descendants({daemon.pid, *steps}):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            daemon.wait()
