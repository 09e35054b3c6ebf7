"""Copies golden data of the reference implementation into tests/fixtures/parity.

The trajectories were computed with the reference's own controller classes on diffusers 0.42. Five
cases keep every step; of the others only token ids, text states, mappers, alphas and gates are kept.
Free-running, these trajectories cannot be met by anyone: see tests/reference/trajectories.py.

usage: python tests/reference/pack_parity.py FOLDER   (safetensors, numpy)
"""
import json
import pathlib
import shutil
import sys

from safetensors.numpy import load_file, save_file

source = pathlib.Path(sys.argv[1])
target = pathlib.Path(__file__).parent.parent / "fixtures" / "parity"
WHOLE = {"no-control", "replace-multitoken", "refine", "reweight", "blend-subtract"}

cases = json.loads((source / "cases.json").read_text())
for case in cases:
    name = case["name"] + ".safetensors"
    tensors = load_file(source / name)
    if case["name"] not in WHOLE:
        for key in ["step_latents", "final_latents", "token_maps_16", "decoded"]:
            del tensors[key]
    save_file(tensors, target / name)
(target / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
for name in ["aligner.json", "windows.json"]:
    shutil.copy(source / name, target / name)
