"""Other packages, run themselves on the same files and weights; each in a process of its own."""

from __future__ import annotations

from sfbench.quality.peers import clean_fid, torch_fidelity

PEERS = {one.DISTRIBUTION: one for one in (torch_fidelity, clean_fid)}
