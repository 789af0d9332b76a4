"""Rendering of drawings to 48 x 48 RGBA, and the views that are made of one."""

import io

import numpy as np
import resvg_py
from PIL import Image

Image.MAX_IMAGE_PIXELS = 1 << 28  # some of the clip art has 169 million pixels
S = 48  # side of every picture, pixels


def shrink(image):
    """A square RGBA image at S x S: a box filter over premultiplied colour, so that edges keep their hue."""
    a = np.asarray(image).astype(np.float32)
    a[..., :3] *= a[..., 3:] / 255
    a = np.stack([np.asarray(Image.fromarray(a[..., i]).resize((S, S), Image.BOX)) for i in range(4)], -1)
    a[..., :3] = a[..., :3] / np.maximum(a[..., 3:], 1) * 255
    return np.clip(a + 0.5, 0, 255).astype(np.uint8)


def pad(image):
    """The image centred on a transparent square."""
    w, h = image.size
    if w == h:
        return image
    m = max(w, h)
    square = Image.new("RGBA", (m, m))
    square.paste(image, ((m - w) // 2, (m - h) // 2))
    return square


def render_svg(svg):
    """RGBA uint8 [S, S, 4] of an SVG text, drawn at twice the size and shrunk."""
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=S * 2, height=S * 2))
    return shrink(pad(Image.open(io.BytesIO(png)).convert("RGBA")))


def render_file(path):
    """RGBA uint8 [S, S, 4] of an image file, or None for one whose shorter side is under 16 pixels at twice the size."""
    image = Image.open(path).convert("RGBA")
    image.thumbnail((S * 2, S * 2))
    if min(image.size) < 16:
        return None
    return shrink(pad(image))


def on_white(rgba):
    """float32 [3, S, S] in 0..1 of RGBA uint8 [S, S, 4] over white."""
    x = rgba.transpose(2, 0, 1).astype(np.float32) / 255
    return x[:3] * x[3:] + 1 - x[3:]


def sample(x, a):
    """Bilinear samples of x [C, S, S] on the grid that the affine map a [2, 3] gives, zero outside.

    Coordinates run from -1 to 1 over the outer edges of the picture (PyTorch's affine_grid and grid_sample with
    align_corners off).
    """
    t = (2 * np.arange(S, dtype=np.float64) + 1) / S - 1
    gx, gy = np.meshgrid(t, t)
    u = ((a[0, 0] * gx + a[0, 1] * gy + a[0, 2] + 1) * S - 1) / 2
    v = ((a[1, 0] * gx + a[1, 1] * gy + a[1, 2] + 1) * S - 1) / 2
    u0, v0 = np.floor(u).astype(int), np.floor(v).astype(int)
    out = np.zeros(x.shape, np.float64)
    for dv in (0, 1):
        for du in (0, 1):
            ui, vi = u0 + du, v0 + dv
            w = (1 - np.abs(u - ui)) * (1 - np.abs(v - vi))
            inside = (ui >= 0) & (ui < S) & (vi >= 0) & (vi < S)
            out += np.where(inside, w, 0) * x[:, np.clip(vi, 0, S - 1), np.clip(ui, 0, S - 1)]
    return out


def jitter(rgba, rng, strength=0.5, white=0.5):
    """A varied view of a drawing, [3, S, S] in 0..1: scale, turn, aspect and shift, a plain background (white, dark or
    coloured), brightness, contrast and tint, at times grey or inverted."""
    x = rgba.transpose(2, 0, 1).astype(np.float64) / 255
    x = np.concatenate([x[:3] * x[3:], x[3:]])
    r = rng.rand
    sc = 1 + strength * (r() * 0.6 - 0.2)
    th = strength * (r() - 0.5) * 0.6
    asp = 1 + strength * (r() - 0.5) * 0.3
    tx, ty = strength * (r(2) - 0.5) * 0.4
    a = np.array([[np.cos(th) * sc * asp, -np.sin(th) * sc, tx], [np.sin(th) * sc, np.cos(th) * sc / asp, ty]])
    x = sample(x, a)
    u, dark, colour = r(), r() * 0.15, r(3, 1, 1)
    bg = 1.0 if u < white else dark if u < white + 0.12 else colour
    x = x[:3] + bg * (1 - x[3:])
    contrast, tint = 1 + (r() - 0.5) * 0.6, (r(3, 1, 1) - 0.5) * 0.2
    x = np.clip((x - 0.5) * contrast + 0.5 + tint, 0, 1)
    grey, invert = r() < 0.12, r() < 0.05
    if grey:
        x = np.broadcast_to(x.mean(0, keepdims=True), x.shape)
    return 1 - x if invert else x


def contrast(x):
    """The largest of the three channels' standard deviations over the picture [3, S, S]."""
    return x.std(axis=(1, 2)).max()


def quantise(x):
    """uint8 [S, S, 3] of [3, S, S] in 0..1."""
    return np.floor(np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)


def png(pixels):
    """PNG bytes of uint8 [S, S, 3], without loss: grey or a palette where the colours allow it, else RGB."""
    image = Image.fromarray(pixels)
    candidates = [image]
    if (pixels == pixels[..., :1]).all():
        candidates = [Image.fromarray(pixels[..., 0])]
    colours, index = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    if len(colours) <= 256:
        p = Image.fromarray(index.reshape(pixels.shape[:2]).astype(np.uint8), mode="P")
        p.putpalette(colours.tobytes())
        candidates.append(p)
    best = None
    for c in candidates:
        b = io.BytesIO()
        c.save(b, "PNG", optimize=True)
        if best is None or len(b.getvalue()) < len(best):
            best = b.getvalue()
    return best
