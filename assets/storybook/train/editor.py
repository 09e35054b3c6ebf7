"""Runs `p2p edit`: what is scored is what a user gets."""

import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image


class Editor:
    """`binary` on `folder`, one thread each for as many runs at a time as there are cores."""

    def __init__(self, binary, folder, flags=()):
        self.binary, self.flags = binary, ["--model", folder, "--threads", "1", "--quiet", *map(str, flags)]

    def run(self, source, edits=(), seed=0, flags=()):
        """-> pictures by name ("source", "edited-1", "baseline-1"), uint8 (128, 128, 3)."""
        with tempfile.TemporaryDirectory() as scratch:
            out = os.path.join(scratch, "out")
            command = [self.binary, "edit", "--src", source, "--seed", str(seed), "--output", out]
            for edit in edits:
                command += ["--dst", edit]
            done = subprocess.run([*command, *self.flags, *map(str, flags)], capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
            names = [n[:-4] for n in os.listdir(out) if n.endswith(".png") and n != "strip.png"]
            return {n: np.asarray(Image.open(f"{out}/{n}.png").convert("RGB")) for n in names}

    def run_all(self, jobs):
        """`jobs`: keyword arguments of `run`; results in their order."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(lambda job: self.run(**job), jobs))
