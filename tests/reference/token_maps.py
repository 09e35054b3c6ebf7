"""Token maps of the recorded cases in float64: the error of the recorded float32 maps.

Each step starts from the recorded latents before it, as in the test that uses these. Prints the distance
of the recorded maps, and of PyTorch's own float32 here, from float64 (relative rms over all 77 tokens).
Writes the float64 maps of the first 16 tokens to tests/fixtures/parity/token_maps_float64.safetensors.

usage: python tests/reference/token_maps.py        (torch, diffusers, transformers, safetensors)
"""
import json

import torch
from safetensors.torch import load_file, save_file
from trajectories import HERE, Model

FOLDER = HERE / "fixtures" / "parity"


def main():
    models = {dtype: Model(dtype, 1.0) for dtype in [torch.float64, torch.float32]}
    exact = {}
    for case in json.loads((FOLDER / "cases.json").read_text()):
        recorded = load_file(FOLDER / (case["name"] + ".safetensors"))
        if "token_maps_16" not in recorded:
            continue
        maps = {dtype: model.sample(case, recorded["step_latents"])[1].double() for dtype, model in models.items()}
        truth = maps[torch.float64]
        for row in range(len(truth)):
            far = [((m[row].double() - truth[row]).norm() / truth[row].norm()).item()
                   for m in [recorded["token_maps_16"], maps[torch.float32]]]
            print(f"{case['name']:22} row {row}: recorded {far[0]:.1e}, PyTorch's float32 here {far[1]:.1e}")
        exact[case["name"]] = truth[..., :16].float().contiguous()
    save_file(exact, FOLDER / "token_maps_float64.safetensors")


torch.set_grad_enabled(False)
if __name__ == "__main__":
    main()
