"""Things as RGBA pictures: icons, bodies below heads, colours, fluff and snow.

Icons are Microsoft's Fluent emoji (flat, MIT), as the npm package @iconify-json/fluent-emoji-flat
ships them: one JSON file, which `fetch` downloads once.
"""

import functools
import io
import json
import os
import tarfile
import urllib.request

import numpy as np
import resvg_py
from PIL import Image, ImageDraw
from scipy import ndimage

from .vocabulary import COLOURS, FLAVOURS, THINGS

PACKAGE = "https://registry.npmjs.org/@iconify-json/fluent-emoji-flat/-/fluent-emoji-flat-1.2.6.tgz"
SIZE = 160  # of the square that an icon is rasterized in; things are scaled down from it


def fetch():
    """The icons, by name. $STORYBOOK_ICONS names an icons.json that is already here."""
    path = os.environ.get("STORYBOOK_ICONS", os.path.join(os.path.dirname(__file__), "icons.json"))
    if not os.path.exists(path):
        with urllib.request.urlopen(PACKAGE) as reply:
            package = io.BytesIO(reply.read())
        with tarfile.open(fileobj=package) as files, open(path + ".part", "wb") as file:
            file.write(files.extractfile("package/icons.json").read())
        os.replace(path + ".part", path)
    with open(path) as file:
        return json.load(file)["icons"]


@functools.cache
def icons():
    return fetch()


def rasterize(name):
    icon = icons()[name]
    width, height = icon.get("width", 32), icon.get("height", 32)
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}" width="{SIZE}" height="{SIZE}">{icon["body"]}</svg>'
    )
    image = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).convert("RGBA")
    if image.size != (SIZE, SIZE):
        image = image.resize((SIZE, SIZE), Image.LANCZOS)
    return image.crop(image.getbbox())


def ball():
    y, x = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1) * 2 - 1
    shade = np.clip(1.05 - 0.45 * np.hypot(x + 0.35, y + 0.4), 0.3, 1.1)
    rgb = np.stack([shade * 0.9, shade * 0.12, shade * 0.12], -1)
    shine = np.exp(-((x + 0.4) ** 2 + (y + 0.45) ** 2) / 0.03) * 0.6
    rgb = np.clip(rgb + shine[..., None], 0, 1)
    alpha = np.clip((1 - np.hypot(x, y)) * SIZE / 2, 0, 1)
    return Image.fromarray((np.dstack([rgb, alpha]) * 255).astype(np.uint8), "RGBA")


def body_below(head):
    """A head gets a sitting body in its own fur: told apart by the face, as children draw it."""
    pixels = np.asarray(head)
    middle = pixels[int(head.height * 0.2) : int(head.height * 0.45), :, :]
    solid = middle[middle[..., 3] > 200][:, :3]
    values, counts = np.unique(solid // 8, axis=0, return_counts=True)
    fur = tuple(int(v) * 8 + 4 for v in values[counts.argmax()])
    belly = tuple((v + 255 * 2) // 3 for v in fur)
    edge = tuple(int(v * 0.8) for v in fur)
    width, height = head.width, int(head.height * 1.52)
    scale = 4
    figure = Image.new("RGBA", (width * scale, height * scale))
    draw = ImageDraw.Draw(figure)

    def ellipse(cx, cy, rx, ry, fill):
        cx, cy, rx, ry = cx * width * scale, cy * height * scale, rx * width * scale, ry * height * scale
        draw.ellipse((cx - rx, cy - ry, cx + rx, cy + ry), fill=fill + (255,))

    ellipse(0.24, 0.74, 0.10, 0.12, edge)
    ellipse(0.76, 0.74, 0.10, 0.12, edge)
    ellipse(0.50, 0.76, 0.28, 0.23, fur)
    ellipse(0.50, 0.80, 0.16, 0.15, belly)
    ellipse(0.34, 0.95, 0.14, 0.05, edge)
    ellipse(0.66, 0.95, 0.14, 0.05, edge)
    figure = figure.resize((width, height), Image.LANCZOS)
    figure.alpha_composite(head)
    return figure.crop(figure.getbbox())


def in_colour(image, hsv, soft):
    """`image` in one hue. Grey and dark parts keep theirs, unless `soft`: fur has little colour."""
    pixels = np.asarray(image).astype(np.float32) / 255
    hue, sat, val = np.moveaxis(np.asarray(image.convert("RGB").convert("HSV")).astype(np.float32) / 255, -1, 0)
    mask = np.clip((sat - 0.25) / 0.2, 0, 1) * np.clip((val - 0.3) / 0.2, 0, 1)
    if soft:
        mask = np.clip((val - 0.35) / 0.2, 0, 1) * (sat > 0.02)
    light = val / max(np.percentile(val[pixels[..., 3] > 0.5], 85), 0.2)
    new = np.stack(
        [
            np.full_like(hue, hsv[0]),
            np.clip(hsv[1] * (0.6 + 0.4 * sat / max(sat.max(), 0.1)), 0, 1),
            np.clip(hsv[2] * light, 0, 1),
        ],
        -1,
    )
    rgb = np.asarray(Image.fromarray((new * 255).astype(np.uint8), "HSV").convert("RGB")) / 255
    rgb = rgb * mask[..., None] + pixels[..., :3] * (1 - mask[..., None])
    return Image.fromarray((np.dstack([rgb, pixels[..., 3]]) * 255).astype(np.uint8), "RGBA")


def cake(flavour):
    hsv, fruit = FLAVOURS[flavour]
    image = in_colour(rasterize("birthday-cake"), hsv, True)
    if fruit is None:
        return image
    top = int(image.height * 0.30)
    image = image.crop((0, top, image.width, image.height))  # fruit in place of the candles
    topping = rasterize(THINGS[fruit].icon)
    topping = topping.resize((int(topping.width * 0.42), int(topping.height * 0.42)), Image.LANCZOS)
    lift = int(topping.height * 0.8)
    out = Image.new("RGBA", (image.width, image.height + lift))
    out.paste(image, (0, lift))
    for share in (0.14, 0.5, 0.86):
        out.alpha_composite(topping, (int((image.width - topping.width) * share), 0))
    return out


@functools.cache
def sprite(word, colour=None, flavour=None):
    """The picture of one thing: RGBA, cropped to what is drawn."""
    thing = THINGS[word]
    if flavour:
        return cake(flavour)
    image = ball() if thing.icon == "@ball" else rasterize(thing.icon)
    if thing.head:
        image = body_below(image)
    if colour:
        image = in_colour(image, COLOURS[colour], thing.animal or word == "castle")
    return image


def smooth_noise(rng, shape, sigma):
    field = ndimage.gaussian_filter(rng.standard_normal(shape), sigma)
    return field / (field.std() + 1e-6)


def fluffy(image, rng, strength):
    """Hair all around, lighter at its tips. `strength` 0..1 is its length."""
    length = 4 + 24 * strength
    pad = int(length) + 2
    padded = Image.new("RGBA", (image.width + 2 * pad, image.height + 2 * pad))
    padded.paste(image, (pad, pad))
    pixels = np.asarray(padded).astype(np.float32)
    solid = pixels[..., 3] > 128
    outside, (iy, ix) = ndimage.distance_transform_edt(~solid, return_indices=True)
    inside = ndimage.distance_transform_edt(solid)
    hair = length * np.clip(0.55 + 0.3 * smooth_noise(rng, solid.shape, 2.2), 0.1, 1)
    alpha = np.where(solid, 255, np.clip((hair - outside) * 90, 0, 255))
    depth = np.where(solid, -inside, outside) / length  # -1 well inside .. 1 at the tips
    light = np.clip((depth + 1) / 2, 0, 1)[..., None] * (0.35 + 0.3 * strength)
    rgb = pixels[iy, ix, :3]
    rgb = np.where(solid[..., None], pixels[..., :3], rgb)
    rgb = rgb * (1 - light) + 255 * light
    return Image.fromarray(np.dstack([rgb, alpha]).clip(0, 255).astype(np.uint8), "RGBA")


def snowy(image, rng, strength):
    """Snow on everything that looks up. `strength` 0..1 is how deep it lies."""
    pixels = np.asarray(image).astype(np.float32)
    solid = pixels[..., 3] > 128
    depth = SIZE * (0.03 + 0.30 * strength) * np.clip(1 + 0.3 * smooth_noise(rng, (1, image.width), 6), 0.4, 1.6)
    top = np.where(solid.any(0), solid.argmax(0), image.height)
    rows = np.arange(image.height)[:, None]
    # From the top edge of each column, and a thinner layer on every ledge below it.
    cap = (rows - top[None, :]) < depth
    above = np.zeros_like(solid)
    ledge = max(1, int(SIZE * 0.08 * strength))
    above[ledge:] = solid[:-ledge]
    snow = np.clip(ndimage.gaussian_filter((solid & (cap | ~above)).astype(np.float32), 0.8), 0, 1)[..., None]
    rgb = pixels[..., :3] * (1 - snow) + np.array([246.0, 249.0, 255.0]) * snow
    return Image.fromarray(np.dstack([rgb, pixels[..., 3]]).astype(np.uint8), "RGBA")
