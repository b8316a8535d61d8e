"""Behind `sfbench quality --verify`: other packages on the same files, beside this one's numbers."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfbench.api.errors import UsageError
from sfbench.cli.bench import Bench
from sfbench.quality.names import MetricNames
from sfbench.quality.peers import PEERS
from sfbench.quality.protocols import Protocol, read_protocol
from sfbench.quality.published import INCEPTION
from sfbench.values.records import Reading

if TYPE_CHECKING:
    from sfbench.quality.comparison import Comparison
    from sfbench.quality.peers.verification import Verified


def names_of(text: str) -> list[str]:
    """Return the peers that --verify names; raises UsageError for others."""
    found = list(dict.fromkeys(filter(None, text.split(","))))
    for name in found:
        if name not in PEERS:
            msg = f"--verify {name}: expected {', '.join(PEERS)}"
            raise UsageError(msg)
    return found


def with_cards(protocols: Sequence[Protocol], peers: Sequence[str]) -> list[Protocol]:
    """Return the protocols with the cards of the peers, each once."""
    cards = [read_protocol(PEERS[peer].PROTOCOL) for peer in peers]
    return list({one.name: one for one in (*protocols, *cards)}.values())


def check(bench: Bench, comparison: Comparison) -> None:
    """Raise UsageError for what a peer cannot be given, before any work."""
    if bench.asked.model is not None or comparison.reference is None:
        msg = "--verify compares files: give --images and --reference as images, not statistics"
        raise UsageError(msg)
    if bench.world > 1:
        msg = "--verify runs in one process; omit torchrun"
        raise UsageError(msg)
    found = bench.open_extractor(bench.asked.extractor or INCEPTION)
    if not found.name.startswith(INCEPTION):
        msg = f"--verify: the other packages' network is {INCEPTION}, not {found.name}"
        raise UsageError(msg)


def verified(
    bench: Bench, comparison: Comparison, readings: Sequence[Reading], peers: Sequence[str]
) -> list[Verified]:
    """Return this project's numbers by each peer's card beside the peer's own."""
    import torch

    from sfbench.quality.peers.verification import ask, compared, write_files

    assert comparison.reference is not None  # noqa: S101  # see check
    source = bench.source_of(INCEPTION)
    extractor = bench.open_extractor(bench.asked.extractor or INCEPTION)
    ours = {reading.metric: reading.value for reading in readings}
    found: list[Verified] = []
    with tempfile.TemporaryDirectory(prefix="sfbench-verify-") as folder:
        files = write_files(
            Path(folder), comparison.generated, comparison.reference, Path(str(source.path))
        )
        for peer in peers:
            print(f"running {peer} itself on the same files", file=sys.stderr)
            told = ask(peer, files, bench.device, torch.get_num_threads())
            protocol = read_protocol(PEERS[peer].PROTOCOL)
            names = MetricNames(protocol.name, extractor)
            measures = {"frechet": names.frechet, "kernel": names.kernel, "score": names.score}
            found += compared(peer, protocol, ours, measures, told)
    return found


def document(found: Sequence[Verified]) -> list[dict[str, Any]]:
    """Return the lines as JSON values."""
    return [
        dataclasses.asdict(one) | {"difference": one.difference, "holds": one.holds}
        for one in found
    ]
