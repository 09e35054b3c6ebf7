"""Writes tests/fixtures/schedulers: what diffusers' schedulers do, for tests/it/schedulers.rs.

schedules.json    timesteps and sigmas of several step counts, and where a *flow* ends: a walk whose predicted
                  noise is the exact one for data that are normal with mean MEAN and deviation SPREAD, so that
                  every count from 1 to 1000 costs nothing. Long lists keep their ends and a sum.
NAME.safetensors  whole trajectories of tests/fixtures/mini-sd, calmed as in trajectories.py, in float64: two
                  rows, source and edited prompt without control. `all` has the latents before the first and
                  after each call of STEPS steps, `few` the last ones of FEW steps.

A scheduler is made as users make it, by X.from_config of the model's DDIM config; only PLMS has to be asked
for. Euler ancestral draws a noise of its own for each row of a batch; here all rows share what a single row
draws, so that they stay comparable, and the script holds its first row against diffusers left alone.

usage: python tests/reference/schedulers.py
Needs torch, diffusers, transformers, safetensors.
"""
import json

import diffusers
import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.schedulers import scheduling_euler_ancestral_discrete as ancestral
from safetensors.torch import save_file

from trajectories import HERE, MODEL, SHARPNESS, Model

OUT = HERE / "fixtures" / "schedulers"
SCHEDULERS = {
    "ddim": (diffusers.DDIMScheduler, {}),
    "pndm": (diffusers.PNDMScheduler, {"skip_prk_steps": True}),
    "dpm++2m": (diffusers.DPMSolverMultistepScheduler, {}),
    "unipc": (diffusers.UniPCMultistepScheduler, {}),
    "euler": (diffusers.EulerDiscreteScheduler, {}),
    "euler-a": (diffusers.EulerAncestralDiscreteScheduler, {}),
}
COUNTS = [1, 2, 3, 7, 14, 15, 50, 333, 998, 999, 1000]
V = {"prediction_type": "v_prediction"}
VARIANTS = [{}, {"steps_offset": 0, "set_alpha_to_one": True}, V, V | {"timestep_spacing": "trailing"}]
MEAN, SPREAD = 0.5, 0.25
PROMPTS = ["a photo of a cat on a chair", "a photo of a tiger on a chair"]
STEPS, FEW, GUIDANCE, SEED, SIZE = 8, 3, 7.5, 21, (12, 20)
ENDS = 4


def scheduler(name, steps, **changes):
    ddim = diffusers.DDIMScheduler.from_pretrained(MODEL, subfolder="scheduler")
    made, asked = SCHEDULERS[name]
    made = made.from_config({**ddim.config, **changes}, **asked)
    made.set_timesteps(steps)
    return made


def shared_noise(shape, generator=None, dtype=None, device=None):
    """A single row's draw, in float32, for every row."""
    return torch.randn((1, *shape[1:]), generator=generator).to(dtype).expand(shape)


def walk(made, eps, noise, rows, dtype, generator):
    """The latents before the first and after each call, as StableDiffusionPipeline runs them."""
    x = (noise * made.init_noise_sigma).to(dtype).expand(rows, -1, -1, -1)
    seen = [x]
    more = {"generator": generator} if isinstance(made, diffusers.EulerAncestralDiscreteScheduler) else {}
    for t in made.timesteps:
        x = made.step(eps(made.scale_model_input(x, t), t), t, x, **more).prev_sample
        seen.append(x)
    return seen


def start(size):
    generator = torch.Generator("cpu").manual_seed(SEED)
    return torch.randn((1, 4, *size), generator=generator), generator


def flow(made):
    alphas = made.alphas_cumprod.double()

    def eps(x, t):
        alpha = alphas[min(int(t), len(alphas) - 1)]
        noise = (1 - alpha).sqrt() * (x - alpha.sqrt() * MEAN) / (alpha * SPREAD**2 + 1 - alpha)
        if made.config.prediction_type == "epsilon":
            return noise
        # v = alpha noise - sigma x_0
        return (noise - (1 - alpha).sqrt() * x) / alpha.sqrt()

    noise, generator = start((2, 2))
    return walk(made, eps, noise, 1, torch.float64, generator)[-1].flatten()


def ends(values):
    short = values if len(values) <= 2 * ENDS else values[:ENDS] + values[-ENDS:]
    return {"len": len(values), "ends": short, "sum": sum(values)}


def schedule(name, steps, changes):
    made = scheduler(name, steps, **changes)
    case = {"name": name, "steps": steps, **changes, "timesteps": ends([int(t) for t in made.timesteps])}
    if name not in ("ddim", "pndm"):
        case["sigmas"] = ends(made.sigmas.tolist())
    case["init_noise_sigma"] = float(made.init_noise_sigma)
    try:
        end = flow(made)
    except (AssertionError, IndexError):
        end = torch.tensor(float("nan"))
    # Where diffusers fails, or walks into infinities, there is nothing to compare.
    case["end"] = end.tolist() if end.isfinite().all() else None
    return case


class Unet:
    def __init__(self, model, rows):
        ids = torch.tensor([model.text.ids(p) for p in [""] * rows + PROMPTS[:rows]])
        self.unet, self.context = model.unet, model.encoder(ids)[0]

    def __call__(self, x, t):
        uncond, cond = self.unet(torch.cat([x, x]), t, self.context).sample.chunk(2)
        return uncond + GUIDANCE * (cond - uncond)


def trajectory(model, name, steps, rows=2):
    noise, generator = start(SIZE)
    return walk(scheduler(name, steps), Unet(model, rows), noise, rows, model.dtype, generator)


def far(a, b):
    return ((a - b).norm() / b.norm()).item()


def main():
    own_noise, ancestral.randn_tensor = ancestral.randn_tensor, shared_noise
    OUT.mkdir(exist_ok=True)
    cases = [schedule(n, steps, v) for v in VARIANTS for n in SCHEDULERS for steps in COUNTS]
    (OUT / "schedules.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
    exact, single = (Model(dtype, SHARPNESS) for dtype in (torch.float64, torch.float32))
    for model in (exact, single):
        model.unet.set_attn_processor(AttnProcessor())
    for name in SCHEDULERS:
        seen = torch.stack(trajectory(exact, name, STEPS))
        few = trajectory(exact, name, FEW)[-1]
        ancestral.randn_tensor = own_noise
        alone = trajectory(single, name, STEPS, rows=1)[-1]
        ancestral.randn_tensor = shared_noise
        print(f"{name:8} rows {far(seen[-1, 1], seen[-1, 0]):.0%} apart; diffusers' float32 is "
              f"{far(alone[0], seen[-1, 0]):.1e} from its float64")
        assert far(alone[0], seen[-1, 0]) < 1e-4
        tensors = {"all": seen.float().contiguous(), "few": few.float().contiguous()}
        save_file(tensors, OUT / f"{name}.safetensors")


torch.set_grad_enabled(False)
main()
