"""Writes tests/fixtures/noise.json: what torch's CPU generator draws, for tests/it/noise.rs.

Needs torch; run from anywhere. Long draws keep their ends and a sum.
"""

import json
import pathlib

import torch

SEEDS = [0, 1, 8888, 2**31 + 7, 2**32 - 1, 2**32 + 5]
LENGTHS = [1, 2, 7, 15, 16, 17, 31, 32, 100, 1024]
CONSECUTIVE = [[7, 7], [15, 16, 3], [17, 1, 2], [100, 100], [1024, 5, 1024, 4]]
ENDS = 20


def generator(seed):
    return torch.Generator("cpu").manual_seed(seed)


def record(values):
    ends = values if len(values) <= 2 * ENDS else torch.cat([values[:ENDS], values[-ENDS:]])
    return {"len": len(values), "ends": ends.tolist(), "sum": values.double().sum().item()}


def raw(seed, count):
    # For int32, random_ is the raw 32-bit integer modulo 2^31. 700 draws cross the generator's
    # first refill of its 624 words.
    values = torch.empty(count, dtype=torch.int32)
    return values.random_(generator=generator(seed)).tolist()


def main():
    cases = [
        {"seed": seed, **record(torch.randn(length, generator=generator(seed)))}
        for seed in SEEDS
        for length in LENGTHS
    ]
    runs = []
    for seed in SEEDS[:3]:
        for lengths in CONSECUTIVE:
            g = generator(seed)
            draws = [record(torch.randn(length, generator=g)) for length in lengths]
            runs.append({"seed": seed, "draws": draws})
    out = {
        "torch": torch.__version__.split("+")[0],
        "raw_modulo_2_31": [{"seed": seed, "values": raw(seed, 700)[-80:]} for seed in SEEDS],
        "randn": cases,
        "consecutive": runs,
    }
    path = pathlib.Path(__file__).parent.parent / "fixtures" / "noise.json"
    path.write_text(json.dumps(out) + "\n")


main()
