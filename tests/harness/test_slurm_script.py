"""The script for Slurm and what Slurm says; the engines of the docs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from sfbench.run.engines import slurm

Command = Callable[..., subprocess.CompletedProcess[str]]
DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.fast
@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (("--on", "pbs"), "expected slurm"),
        (("--on", "slurm", "--workers", "0"), "expected 1 to"),
        (("--on", "slurm", "--slurm", "GRES=gpu"), "expected a flag of sbatch"),
        (("--on", "slurm", "--slurm", "gres=a\nb"), "expected a flag of sbatch"),
        (("--on", "slurm", "--slurm", "array=0-2"), "see --workers"),
        (("--on", "slurm", "--slurm", "time=1", "--slurm", "time=2"), "given twice"),
        (("--on", "slurm", "--print", "--store", "a\nb"), "a path that Slurm cannot take"),
        (("--workers", "3"), "are for --on slurm"),
    ],
)
def test_wrong_flags_of_clusters_are_refused(
    sfbench: Command, given: tuple[str, ...], complaint: str
) -> None:
    done = sfbench("run", "--model", "synthetic", "--res", "8", "--samples", "16", *given)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.fast
def test_the_script_can_be_read_and_submits_nothing(sfbench: Command, tmp_path: Path) -> None:
    asked = ("run", "--model", "synthetic", "--res", "8", "--samples", "16", "--store", "S")
    cluster = ("--on", "slurm", "--workers", "3", "--slurm", "gres=gpu:1", "--print")
    script = sfbench(*asked, *cluster).stdout
    lines = script.splitlines()
    assert lines[0] == "#!/bin/bash"
    assert "--model synthetic --res 8" in lines[1]
    flags = [line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")]
    assert {"array=0-2", "gres=gpu:1", "requeue", "exclusive", "open-mode=append"} <= set(flags)
    assert lines[-1].startswith(f"exec {sys.executable} -P -m sfbench work --plan {tmp_path}")
    plan = next((tmp_path / "S" / "plans").glob("*.json"))
    assert str(plan) in lines[-1]
    assert (tmp_path / "S" / "logs" / plan.stem).is_dir()  # Slurm does not make it
    odd = sfbench(*asked[:-1], "od d/100%", *cluster).stdout
    assert f'#SBATCH --output="{tmp_path}/od d/100%%/logs/' in odd
    shared = sfbench(*asked, *cluster, "--slurm", "exclusive=no").stdout
    assert "exclusive" not in shared
    quality = sfbench(*asked, *cluster, "--measure", "quality").stdout
    assert "exclusive" not in quality


def programs(folder: Path, **scripts: str) -> None:
    """Write programs that stand in for Slurm's, each a shell script."""
    folder.mkdir(exist_ok=True)
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)


def test_what_slurm_says_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=None)
    job = tmp_path / "plan.slurm"
    with pytest.raises(slurm.SlurmError, match="sbatch: not found; --on slurm"):
        slurm.submit("x", tmp_path / "x.sh", job)
    assert slurm.running(job) is None
    programs(tmp_path / "bin", sbatch="echo '17;here'", squeue="echo RUNNING")
    assert slurm.submit("x", tmp_path / "x.sh", job) == "17"
    assert slurm.running(job) == "17"
    watched = slurm.Watched(job, 0.0)
    assert watched()
    programs(tmp_path / "bin", squeue="echo 'slurm_load_jobs error: Unable to contact' >&2; exit 1")
    assert watched()  # it is restarted, perhaps: nothing is known to be over
    assert watched.state == "job 17: 1 running"
    with pytest.raises(slurm.SlurmError, match="squeue: slurm_load_jobs error: Unable to contact"):
        slurm.running(job)
    programs(tmp_path / "bin", squeue="echo 'error: Invalid job id specified' >&2; exit 1")
    assert watched()  # it may be on its way back to the queue
    assert not watched()
    programs(tmp_path / "bin", sbatch="echo 'sbatch: error: no\nsuch' >&2; exit 1")
    with pytest.raises(slurm.SlurmError, match=r"^sbatch: no such$"):
        slurm.submit("x", tmp_path / "x.sh", job)
    programs(tmp_path / "bin", sbatch="echo welcome")
    with pytest.raises(slurm.SlurmError, match="did not say the job's number"):
        slurm.submit("x", tmp_path / "x.sh", job)


@pytest.mark.fast
def test_the_engines_of_the_docs_start_workers() -> None:
    text = (DOCS / "cluster.md").read_text(encoding="utf-8")
    kubernetes, sky = (
        yaml.safe_load(part.partition("```")[0]) for part in text.split("```yaml\n")[1:]
    )
    (container,) = kubernetes["spec"]["template"]["spec"]["containers"]
    assert kubernetes["spec"]["completionMode"] == "Indexed"
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    commands = [container["command"], sky["run"].split()]
    commands += [
        line[line.index("sfbench work") :].split()
        for line in text.splitlines()
        if line.startswith(("parallel", "srun"))
    ]
    assert len(commands) == 4
    for command in commands:
        assert command[:2] == ["sfbench", "work"]
        assert command[2::2] == ["--plan", "--store"]
    assert commands[0][-1] in mounts
