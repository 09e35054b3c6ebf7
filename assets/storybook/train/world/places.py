"""Backgrounds: places, times of day and seasons, drawn at twice the picture's size."""

import numpy as np
from PIL import Image, ImageDraw

from .sprites import smooth_noise

CANVAS = 256  # pixels: twice the picture, so that shrinking smooths the edges


def vary(rng, colour, by=14):
    return tuple(int(np.clip(c + rng.integers(-by, by + 1), 0, 255)) for c in colour)


def gradient(top, bottom):
    t = np.linspace(0, 1, CANVAS)[:, None, None]
    rows = np.array(top) * (1 - t) + np.array(bottom) * t
    return Image.fromarray(np.repeat(rows, CANVAS, 1).astype(np.uint8))


def disc(draw, x, y, r, fill):
    draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)


def hills(draw, rng, colour, base, height):
    xs = np.arange(0, CANVAS + 8, 8)
    phase, f = rng.uniform(0, 6.3, 2), rng.uniform(0.006, 0.03, 2)
    ys = base - height * (np.sin(xs * f[0] + phase[0]) + 0.5 * np.sin(xs * f[1] * 2 + phase[1]))
    draw.polygon([(0, CANVAS), *((int(x), int(y)) for x, y in zip(xs, ys)), (CANVAS, CANVAS)], fill=colour)


# Ground colours a season or a time changes: green -> what it becomes.
GREEN = {"winter": (238, 243, 250), "autumn": (205, 140, 60)}


def green(mood, usual):
    return GREEN.get(mood, usual)


def sky(rng, place, mood):
    if mood == "night":
        return (14, 18, 50), (44, 50, 100)
    if mood == "sunset":
        return (150, 80, 140), (255, 165, 90)
    if mood == "winter" or place == "snow":
        return (180, 200, 222), (225, 234, 243)
    if mood == "autumn":
        return (190, 205, 220), (245, 225, 190)
    if place == "desert":
        return (250, 190, 120), (253, 225, 170)
    return (120, 190, 245), (205, 232, 250)


def background(place, mood, rng):
    """-> picture of CANVAS x CANVAS, and where things stand (a share of the height, or None)."""
    if place is None:
        return plain(mood, rng), 0.92
    horizon = int(CANVAS * rng.uniform(0.52, 0.66))
    top, bottom = sky(rng, place, mood)
    image = gradient(vary(rng, top, 8), vary(rng, bottom, 8))
    draw = ImageDraw.Draw(image)
    lights(draw, rng, place, mood, horizon)
    ground = PLACES[place](draw, rng, mood, horizon)
    if mood == "night":  # the ground loses its light, the sky keeps its stars
        pixels = np.asarray(image).astype(np.float32)
        pixels[horizon - 20 :] *= (0.42, 0.45, 0.62)
        image = Image.fromarray(pixels.astype(np.uint8))
    elif mood == "sunset":
        pixels = np.asarray(image).astype(np.float32)
        pixels[horizon:] *= (1.0, 0.8, 0.72)
        image = Image.fromarray(pixels.astype(np.uint8))
    return image, ground


def plain(mood, rng):
    if mood in ("night", "sunset", "winter", "autumn"):
        image = gradient(*(vary(rng, c, 8) for c in sky(rng, None, mood)))
        lights(ImageDraw.Draw(image), rng, None, mood, CANVAS)
        return image
    pastels = [(240, 236, 228), (225, 235, 245), (245, 230, 235), (230, 242, 228), (238, 232, 246)]
    colour = vary(rng, pastels[rng.integers(5)], 6)
    return gradient(colour, vary(rng, colour, 6))


def lights(draw, rng, place, mood, horizon):
    if mood == "night":
        for _ in range(rng.integers(25, 50)):
            disc(draw, rng.integers(0, CANVAS), rng.integers(0, horizon), rng.uniform(0.8, 2.2), (245, 245, 225))
        disc(draw, rng.integers(25, 231), rng.integers(25, 55), rng.integers(13, 19), (250, 245, 205))
    elif mood == "sunset":
        disc(draw, rng.integers(40, 216), min(horizon, 170) - rng.integers(5, 45), 26, (255, 225, 120))
    elif place in ("beach", "desert"):
        disc(draw, rng.integers(30, 226), 27, 17, (255, 225, 90) if place == "beach" else (255, 240, 170))


def falling(image, mood, place, rng):
    """Snowflakes or leaves in front of everything."""
    draw = ImageDraw.Draw(image)
    if mood == "winter" or place == "snow":
        for _ in range(rng.integers(25, 45)):
            disc(draw, *rng.integers(0, CANVAS, 2), rng.uniform(1.5, 3.5), (255, 255, 255))
    elif mood == "autumn":
        colours = [(225, 95, 35), (240, 160, 40), (190, 70, 30)]
        for _ in range(rng.integers(14, 24)):
            x, y, r = *rng.integers(0, CANVAS, 2), rng.uniform(3, 5)
            draw.ellipse((x - r, y - r * 0.6, x + r, y + r * 0.6), fill=colours[rng.integers(3)])


def grass(draw, rng, mood, horizon):
    hills(draw, rng, vary(rng, green(mood, (120, 190, 90))), horizon, 10)
    draw.rectangle((0, horizon + 14, CANVAS, CANVAS), fill=vary(rng, green(mood, (105, 178, 75))))


def beach(draw, rng, mood, horizon):
    draw.rectangle((0, horizon - 30, CANVAS, horizon + 6), fill=vary(rng, (40, 140, 200)))
    hills(draw, rng, vary(rng, (240, 215, 150)), horizon + 6, 5)


def snow(draw, rng, mood, horizon):
    hills(draw, rng, vary(rng, (248, 250, 253), 4), horizon, 8)


def street(draw, rng, mood, horizon):
    x = 0
    while x < CANVAS:
        width, height = int(rng.integers(36, 64)), int(rng.integers(45, 110))
        walls = [(176, 150, 140), (150, 160, 175), (190, 175, 150), (165, 140, 160)]
        draw.rectangle((x, horizon - height, x + width, horizon), fill=vary(rng, walls[rng.integers(4)]))
        for wx in range(x + 7, x + width - 9, 16):
            for wy in range(horizon - height + 9, horizon - 12, 20):
                draw.rectangle((wx, wy, wx + 8, wy + 10), fill=(255, 240, 150) if mood == "night" else (235, 230, 180))
        if mood == "winter":
            draw.rectangle((x, horizon - height, x + width, horizon - height + 7), fill=(245, 248, 252))
        x += width
    draw.rectangle((0, horizon, CANVAS, CANVAS), fill=vary(rng, (95, 97, 102), 8))
    y = (horizon + CANVAS) // 2
    for x in range(int(rng.integers(0, 20)), CANVAS, 48):
        draw.rectangle((x, y - 3, x + 26, y + 3), fill=(240, 240, 235))


def river(draw, rng, mood, horizon):
    grass(draw, rng, mood, horizon)
    top = int(CANVAS * rng.uniform(0.8, 0.86))
    xs, phase = np.arange(0, CANVAS + 8, 8), rng.uniform(0, 6.3)
    edge = [(int(x), int(top + 5 * np.sin(x * 0.03 + phase))) for x in xs]
    draw.polygon([*edge, (CANVAS, CANVAS), (0, CANVAS)], fill=vary(rng, (60, 150, 215)))
    for _ in range(7):
        x, y = rng.integers(0, CANVAS - 20), rng.integers(top + 10, CANVAS - 3)
        draw.line((x, y, x + 18, y), fill=(170, 215, 245), width=2)
    return 0.85


def desert(draw, rng, mood, horizon):
    hills(draw, rng, vary(rng, (225, 165, 95)), horizon - 8, 14)
    hills(draw, rng, vary(rng, (236, 185, 115)), horizon + 14, 10)


def mountains(draw, rng, mood, horizon):
    cap = 0.75 if mood == "winter" else 0.3
    for x in (rng.integers(10, 90), rng.integers(90, 170), rng.integers(170, 250)):
        height, width = rng.integers(70, 130), rng.integers(65, 110)
        draw.polygon([(x - width, horizon), (x, horizon - height), (x + width, horizon)], fill=vary(rng, (120, 130, 150)))
        y = horizon - height * (1 - cap)
        draw.polygon([(x - width * cap, y), (x, horizon - height), (x + width * cap, y)], fill=(245, 248, 252))
    draw.rectangle((0, horizon, CANVAS, CANVAS), fill=vary(rng, green(mood, (125, 165, 95))))


def forest(draw, rng, mood, horizon):
    leaf = {"winter": (225, 234, 242), "autumn": (215, 110, 40)}.get(mood, (45, 110, 60))
    for x in range(int(rng.integers(0, 24)), CANVAS + 20, 30):
        foot, height = horizon + rng.integers(0, 10), rng.integers(80, 125)
        colour = vary(rng, leaf, 12)
        draw.rectangle((x - 4, foot - 24, x + 4, foot), fill=(95, 65, 40))
        draw.polygon([(x - 24, foot - 16), (x, foot - height), (x + 24, foot - 16)], fill=colour)
    draw.rectangle((0, horizon + 8, CANVAS, CANVAS), fill=vary(rng, green(mood, (80, 140, 65))))


PLACES = {f.__name__: f for f in (grass, beach, snow, street, river, desert, mountains, forest)}


def fog(pixels, rng, strength):
    """Floats 0..1 (h, w, 3) behind fog. `strength` 0..1 is how much of it."""
    share = (0.25 + 0.6 * strength) * np.clip(1 + 0.10 * smooth_noise(rng, pixels.shape[:2], 12), 0.7, 1.15)
    share = np.clip(share, 0, 0.95)[..., None]
    return pixels * (1 - share) + np.array([0.86, 0.88, 0.90]) * share


def dark(pixels, strength):
    """The same with the light going out."""
    return pixels * (1 - (0.35 + 0.5 * strength)) * np.array([0.95, 0.97, 1.1])
