"""What every training here has: checkpoints to stop and go on from, averaged weights, a schedule."""

import os
import time

import torch


class Average:
    """Exponential moving average of a module's weights, held outside of it."""

    def __init__(self, module, decay=0.9995):
        self.decay, self.steps = decay, 0
        self.weights = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module):
        self.steps += 1
        share = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        state = module.state_dict()
        ours = [v for v in self.weights.values() if v.is_floating_point()]
        theirs = [state[k] for k, v in self.weights.items() if v.is_floating_point()]
        torch._foreach_lerp_(ours, theirs, share)


def rate(step, steps, warmup=200, decay=0.25):
    """Share of the peak learning rate: warm up, hold, and fall to nothing over the last quarter.

    Held rather than a cosine, so that a run can be lengthened: go on from a checkpoint of its flat
    part with more steps.
    """
    return min(1.0, (step + 1) / warmup, max(0.0, (steps - step) / (steps * decay)))


class Run:
    """A training that can be killed at any moment: `file` has everything to go on."""

    def __init__(self, file, modules, optimizers, every=60.0):
        self.file, self.modules, self.optimizers, self.every = file, modules, optimizers, every
        self.average, self.step, self.saved = Average(modules), 0, time.time()
        self.begun, self.begun_step, self.sums = time.time(), 0, {}
        if os.path.exists(file):
            state = torch.load(file, map_location="cpu", weights_only=True)
            modules.load_state_dict(state["modules"])
            for optimizer, saved in zip(optimizers, state["optimizers"]):
                optimizer.load_state_dict(saved)
            for k, v in self.average.weights.items():
                v.copy_(state["average"][k])
            self.average.steps, self.step = state["averaged"], state["step"]
            self.begun_step = self.step
            print(f"going on from step {self.step} of {file}", flush=True)

    def save(self):
        state = {
            "modules": self.modules.state_dict(),
            "average": self.average.weights,
            "averaged": self.average.steps,
            "optimizers": [o.state_dict() for o in self.optimizers],
            "step": self.step,
        }
        os.makedirs(os.path.dirname(os.path.abspath(self.file)), exist_ok=True)
        torch.save(state, self.file + ".part")
        os.replace(self.file + ".part", self.file)
        self.saved = time.time()

    def update(self, loss, share, losses, report=100):
        """One optimizer step at `share` of each optimizer's peak rate; averages, reports, saves."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.modules.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * share
            optimizer.step()
        self.average.update(self.modules)
        self.step += 1
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        if self.step % report == 0:
            speed = (self.step - self.begun_step) / (time.time() - self.begun)
            shown = "  ".join(f"{k} {v / report:.4f}" for k, v in self.sums.items())
            print(f"step {self.step}  {shown}  {speed:.2f} steps/s", flush=True)
            self.sums = {}
        if time.time() - self.saved > self.every:
            self.save()

    def finished(self):
        """Saves, and leaves the averaged weights in the modules."""
        self.save()
        self.modules.load_state_dict(self.average.weights)
