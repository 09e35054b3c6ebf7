"""Restyling a finished picture: floats 0..1 of shape (h, w, 3), in and out."""

import numpy as np
from PIL import Image
from scipy import ndimage

from .sprites import smooth_noise

GREY = np.array([0.3, 0.59, 0.11])


def shake(pixels, rng, sigma, by):
    """Every pixel from a place up to about `by` pixels away: a hand that isn't steady."""
    shape = pixels.shape[:2]
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    at = [y + smooth_noise(rng, shape, sigma) * by, x + smooth_noise(rng, shape, sigma) * by]
    return np.stack([ndimage.map_coordinates(pixels[..., k], at, order=1, mode="reflect") for k in range(3)], -1)


def edges(pixels, sigma):
    return ndimage.gaussian_gradient_magnitude(pixels @ GREY, sigma)


def watercolor(pixels, rng):
    out = shake(ndimage.gaussian_filter(pixels, (1.4, 1.4, 0)), rng, 3, 1.6)
    out = out * (1 - np.clip(edges(out, 1.0) * 3, 0, 0.35))[..., None]
    shape = pixels.shape[:2]
    return 0.62 * out + 0.38 + (smooth_noise(rng, shape, 1.2) * 0.012 + smooth_noise(rng, shape, 9) * 0.03)[..., None]


def pencil(pixels, rng):
    line = 1 - np.clip(edges(pixels, 0.7) * 5.5, 0, 0.9)
    tone = 1 - 0.3 * (1 - pixels @ GREY)
    return np.repeat((np.clip(line * tone, 0, 1) * 0.95 + 0.03)[..., None], 3, -1)


def children(pixels, rng):
    """Wax crayon: shaky shapes, pale fill, thick dark outlines."""
    out = shake(pixels, rng, 7, 2.4)
    ink = np.clip(edges(out, 1.1) * 7, 0, 1)[..., None] * 0.85
    return (out * 0.72 + 0.28) * (1 - ink) + ink * np.array([0.15, 0.12, 0.2])


def pixel(pixels, rng):
    image = Image.fromarray((np.clip(pixels, 0, 1) * 255).astype(np.uint8))
    small = image.resize((32, 32), Image.BOX).quantize(20).convert("RGB")
    return np.asarray(small.resize(image.size, Image.NEAREST)) / 255


def sepia(pixels, rng):
    size = pixels.shape[0]
    y, x = np.mgrid[0:size, 0:size] / (size - 1) * 2 - 1
    grey = (pixels @ GREY) * (1 - 0.3 * np.clip(np.hypot(x, y) - 0.7, 0, 1))
    return grey[..., None] * np.array([0.95, 0.78, 0.55]) + np.array([0.05, 0.03, 0.02])


def blueprint(pixels, rng):
    """White lines on blue."""
    line = np.clip(edges(pixels, 0.8) * 5, 0, 1)[..., None] * 0.9
    paper = np.array([0.10, 0.28, 0.62]) + 0.10 * (pixels @ GREY)[..., None]
    return paper * (1 - line) + line


STYLES = {f.__name__: f for f in (watercolor, pencil, children, pixel, sepia, blueprint)}
