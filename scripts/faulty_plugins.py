"""Sixty plugins that misbehave, in one run beside three good models: what is left of it?

    python scripts/faulty_plugins.py FOLDER [--timeout 60]

Writes the plugins into FOLDER and measures all models in one `sfbench run`. Exits 1 unless the good
models are measured, every faulty one ends as its own failure or is named as broken, no process and
no temporary folder is left, and nothing ends in a traceback of the harness.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

MARK = "SFBENCH_FAULTY_PLUGINS"
GOOD = ("good-a", "good-b", "good-c")
PLUGIN = """
import sys, os, time, signal, threading, subprocess, ctypes, json, shutil, gc
from sfbench.api import GeneratorSpec, ModuleGenerator, hookimpl
{top}

def build(request):
    import torch
    side = request.resolution
    {build}

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(8, 3 * side * side)

        def forward(self, z):
            images = torch.tanh(self.layer(z)).reshape(-1, 3, side, side)
            {forward}
            return images

    return ModuleGenerator(Model(), request, latent_shape=(8,))

@hookimpl
def sfbench_generators():
    {hook}
    return [GeneratorSpec(name="{name}", summary="", resolutions=(16,), build=build)]
"""
DEEP = "f = lambda n: f(n + 1); f(0)"
ABORT = "ctypes.string_at(0)"
AT_IMPORT = {
    "raises": "raise RuntimeError('no')", "exits": "sys.exit(3)", "exits-at-once": "os._exit(0)",
    "crashes": ABORT, "interrupts": "raise KeyboardInterrupt", "recurses": DEEP,
    "does-not-parse": "def", "imports-nothing": "import there_is_no_such_module",
    "kills-itself": "os.kill(os.getpid(), signal.SIGKILL)", "floods": "print('x' * 10**7)",
    "closes": "os.closerange(0, 100)", "moves": "os.chdir('/')", "sleeps": "time.sleep(600)",
    "raises-bytes": "raise ValueError('\\udcff\\x1b[31m')", "no-memory": "raise MemoryError",
    "changes-torch": "import torch; torch.set_default_dtype(torch.float64)",
    "hides-modules": "sys.modules['json'] = None", "leaves-a-thread":
    "threading.Thread(target=time.sleep, args=(600,)).start()",
}  # fmt: skip
IN_HOOK = {
    "hook-raises": "raise RuntimeError('no')", "hook-crashes": ABORT, "hook-none": "return None",
    "hook-number": "return 5", "hook-strangers": "return [object()]", "hook-exits": "sys.exit(0)",
}  # fmt: skip
IN_BUILD = {
    "build-raises": "raise RuntimeError('no')", "build-exits": "os._exit(0)", "build-crashes": ABORT,
    "build-sleeps": "time.sleep(600)", "build-none": "return None", "build-text": "return 'x'",
    "build-threads": "torch.set_num_threads(1)", "build-grad": "torch.set_grad_enabled(False)",
    "build-double": "torch.set_default_dtype(torch.float64)", "build-recurses": DEEP,
    "build-seeds": "torch.manual_seed(0); torch.use_deterministic_algorithms(True)",
    "build-memory": "torch.empty(1 << 50)",
}  # fmt: skip
IN_FORWARD = {
    "call-raises": "raise RuntimeError('no')", "call-exits": "os._exit(0)", "call-crashes": ABORT,
    "call-kills": "os.kill(os.getpid(), signal.SIGKILL)", "call-sleeps": "time.sleep(600)",
    "call-nan": "images = images * float('nan')", "call-big": "images = images * 300",
    "call-two": "images = images[:, :2]", "call-wide": "images = images[..., :8]",
    "call-last": "images = images.permute(0, 2, 3, 1)", "call-list": "images = images.tolist()",
    "call-array": "images = images.detach().numpy()", "call-none": "images = None",
    "call-random": "images = torch.rand_like(images)", "call-same": "images = images * 0",
    "call-mixes": "images = images + images.mean()", "call-threads": "torch.set_num_threads(1)",
    "call-junk": "[os.write(int(n), b'junk' * 99) for n in os.listdir('/proc/self/fd')[3:-1]]",
    "call-record": "os.path.isfile(sys.argv[2]) or open(sys.argv[2], 'w').write('{}'); os._exit(0)",
    "call-folder": "shutil.rmtree(os.path.dirname(sys.argv[2]), ignore_errors=True)",
    "call-child": "os.fork() or time.sleep(600)",
    "call-session": "subprocess.Popen(['sleep', '600'], start_new_session=True)",
    "call-memory": "raise torch.OutOfMemoryError", "call-floods": "print('x' * 10**6)",
}  # fmt: skip


def plugins(folder: Path) -> tuple[list[Path], list[str]]:
    """Write every plugin; return the files, and the names of the models that can be listed."""
    parts = {"top": AT_IMPORT, "hook": IN_HOOK, "build": IN_BUILD, "forward": IN_FORWARD}
    files, listed = [], list(GOOD)
    everything = [("", name, "pass") for name in GOOD]
    everything += [
        (part, name, code) for part, faults in parts.items() for name, code in faults.items()
    ]
    for part, name, code in everything:
        filled = {other: code if other == part else "pass" for other in parts}
        path = folder / f"{name.replace('-', '_')}.py"
        path.write_text(PLUGIN.format_map(filled | {"name": name}))
        files.append(path)
        if part in {"build", "forward"}:
            listed.append(name)
    return files, listed


def left_processes(mark: str) -> list[str]:
    """Return the command lines of processes that inherited the mark."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if int(place.name) != os.getpid() and mark.encode() in (place / "environ").read_bytes():
                found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:100])
        except OSError:
            continue
    return found


def main() -> int:
    """Measure, and say what happened to each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--timeout", default="60")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    files, listed = plugins(given.folder)
    mark = secrets.token_hex(8)
    scratch = given.folder / "tmp"
    scratch.mkdir()
    command = [
        sys.executable, "-m", "sfbench", "run", "--model", ",".join(listed), "--res", "16",
        "--measure", "memory", "--timeout", given.timeout, "--json", "--device", "cpu",
        "--store", str(given.folder / "results"), *(f"--plugin={path}" for path in files),
    ]  # fmt: skip
    environment = {
        **os.environ, MARK: mark, "TMPDIR": str(scratch),
        "XDG_CACHE_HOME": str(given.folder / "cache"),
    }  # fmt: skip
    began = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603  # this program
    seconds = time.monotonic() - began
    records = {record["case"]["model"]: record for record in json.loads(done.stdout)}
    time.sleep(1)
    processes = left_processes(mark)
    # torch's own cache stays where it is, as users want it.
    folders = sorted(p.name for p in scratch.iterdir() if not p.name.startswith("torchinductor_"))
    status = collections.Counter(record["status"] for record in records.values())
    broken = [line for line in done.stderr.splitlines() if " is broken: " in line]
    silent = [
        n for n in listed if n not in GOOD and records.get(n, {}).get("status") in {"ok", None}
    ]
    good = [name for name in GOOD if records.get(name, {}).get("status") == "ok"]
    faulty = len(files) - len(GOOD)
    print(f"{faulty} faulty plugins, {seconds:.0f} s, exit code {done.returncode}")
    print(f"good models measured: {len(good)} of {len(GOOD)}; broken, by name: {len(broken)}")
    print("records:", ", ".join(f"{count} {name}" for name, count in status.most_common()))
    print(f"faulty and yet ok: {', '.join(silent) or 'none'}")
    print(f"processes left: {len(processes)} {processes}")
    print(f"temporary folders left: {len(folders)} {folders}")
    for name, record in sorted(records.items()):
        print(f"  {name:<16} {record['status']:<16} {str(record['reason'])[:110]}")
    for line in broken:
        print(f"  {line[:150]}")
    harness = "this is a bug in sfbench" in done.stderr
    return int(len(good) < len(GOOD) or bool(processes or folders) or harness)


if __name__ == "__main__":
    sys.exit(main())
