"""NOTICE.md and the licence texts of the embedded data."""

import json
import os
import shutil

from sources import PACKAGES

MNIST = """The module's LICENSE is Apache-2.0 and its source files say so for the code. Its README says of the data only: "The MNIST
dataset is included. It is a copy from Yann LeCun's MNIST page". No file of the module states a licence for the data. The
original page stated none either; the images were made from NIST Special Databases 1 and 3, works of an agency of the United States
government. Some mirrors say Creative Commons Attribution-ShareAlike 3.0. Whoever needs a stated licence should leave this
task out: delete the folder `mnist` and its entries in `manifest.json`."""

MODEL = """## The model

`embedded/model` was trained for this project, with random initial weights, on pictures rendered from: Noto emoji
(@iconify-json/noto 1.2.9, noto-v1 1.2.5; Apache-2.0), Fluent emoji (@iconify-json/fluent-emoji 1.2.7, -flat 1.2.6,
-high-contrast 1.2.6; MIT), FxEmoji (@iconify-json/fxemoji 1.2.2; Apache-2.0), OpenMoji (@iconify-json/openmoji 1.2.29;
CC-BY-SA-4.0), Emoji One version 1 (@iconify-json/emojione-v1 1.2.3; CC-BY-SA-4.0), openclipart-png 0.18+dfsg-19 (public
domain dedication) and twelve free fonts; with names and keywords from unicode-emoji-json 0.9.0 (MIT), emojilib 4.0.3
(MIT) and cldr-annotations-full 48.2.0 (Unicode-3.0). None of those pictures is in the program. It never saw the styles
Twitter Emoji and Emoji One 2, the clip art listed in `scripts/embedded/clipart_heldout.txt`, MNIST or Fashion-MNIST. Its
vocabulary is the first part of CLIP's byte-pair merges (MIT; see tokenizer/)."""


def write(out, src, tasks):
    lic = os.path.join(out, "licenses")
    os.makedirs(lic)

    def put(name, text):
        with open(os.path.join(lic, name), "w", encoding="utf-8", newline="\n") as f:
            f.write(text.rstrip() + "\n")

    for name in ("CC-BY-4.0", "Unicode-3.0"):
        with open(os.path.join(src["licence-texts"], f"package/licenses/{name}.json"), encoding="utf-8") as f:
            put(name + ".txt", json.load(f)["licenseText"])
    for name, path in (("unicode-emoji-json.txt", os.path.join(src["emoji-names"], "package/LICENSE")),
                       ("openclipart-png.txt", os.path.join(src["openclipart"], "usr/share/doc/openclipart-png/copyright")),
                       ("dataset-fashion-mnist.txt", os.path.join(src["fashion-mnist"], "usr/share/doc/dataset-fashion-mnist/copyright")),
                       ("GoMNIST.txt", os.path.join(src["mnist"], "LICENSE"))):
        with open(path, encoding="utf-8", errors="replace") as f:
            put(name, f.read())

    lines = ["# The embedded data: sources, licences, attribution", "",
             "Made by `scripts/embedded/build.py` from the packages below. Their licence texts are in `licenses/`.", ""]
    for p in PACKAGES:
        used = [t["name"] for t in tasks if p["key"] in t["packages"]]
        lines += [f"## {p['name']} {p['version']}", "",
                  f"- Client: {p['client']}; file `{p['file']}`",
                  f"- sha256: `{p['sha256']}`",
                  f"- Licence: {p['licence']}" + (f" (`{p['text'].replace(', ', '`, `')}`)" if p["text"] != "-" else ""),
                  f"- Attribution: {p['attribution']}",
                  f"- Used for: {p['used']}" + (f" ({', '.join(used)})" if used else ""),
                  f"- Changes: {p['changes']}", ""]
        if p["key"] == "mnist":
            lines += [MNIST, ""]
    lines.append(MODEL)
    with open(os.path.join(out, "NOTICE.md"), "w", encoding="utf-8", newline="\n") as f:
        f.write("\n".join(lines).rstrip() + "\n")
