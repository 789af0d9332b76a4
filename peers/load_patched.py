"""Loads a directory that paint wrote into transformers or open_clip, strictly, and compares the features.

  paint embed --model DIR --pixels pixels.safetensors --text "a cat" --text "a dog" --json > embed.json
  printf 'a cat\\na dog\\n' | paint tokenize --model DIR --json > ids.jsonl
  python load_patched.py DIR --layout openclip --expect embed.json --pixels pixels.safetensors --ids ids.jsonl

The inputs go in as tensors, so neither library's image processor nor tokenizer takes part: a model with a cut
vocabulary (4,096 ids, context 24) is checked like any other. Exit status: 0 the same, 1 it could not be loaded or
compared, 3 a difference over the tolerance.

Relative error: for features the largest difference in a row over that row's largest value; for logits the largest
difference over the logit scale, which is the error of a cosine.
"""

import argparse
import json
import os
import sys

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")

import torch
from safetensors import safe_open

# Buffers that older releases of transformers stored and newer ones compute.
COMPUTED = ("position_ids",)


class Failure(Exception):
    pass


def check_keys(missing, unexpected, mismatched=()):
    wrong = {
        "missing": [k for k in missing if not k.endswith(COMPUTED)],
        "unexpected": [k for k in unexpected if not k.endswith(COMPUTED)],
        "of another shape": list(mismatched),
    }
    wrong = {k: v for k, v in wrong.items() if v}
    if wrong:
        raise Failure("loading: " + "; ".join(f"{len(v)} tensors {k}: {', '.join(map(str, v[:3]))}" for k, v in wrong.items()))


def load_hf(path):
    from transformers import CLIPModel
    from transformers.utils import logging

    logging.disable_progress_bar()

    model, info = CLIPModel.from_pretrained(path, output_loading_info=True, local_files_only=True, dtype=torch.float32)
    check_keys(info["missing_keys"], info["unexpected_keys"], info.get("mismatched_keys", ()))
    model.eval()

    def tensor(o):  # transformers 5 wraps the projected features in an output object
        return o if torch.is_tensor(o) else o.pooler_output

    return (lambda x: tensor(model.get_image_features(pixel_values=x)),
            lambda ids: tensor(model.get_text_features(input_ids=ids)), model.logit_scale)


def load_openclip(path):
    import open_clip

    # "local-dir:" builds the model of open_clip_config.json and loads the weights beside it with strict=True; with no
    # weights there it only warns, hence require_pretrained.
    model = open_clip.create_model("local-dir:" + os.path.abspath(path), precision="fp32", require_pretrained=True)
    model.eval()
    return model.encode_image, model.encode_text, model.logit_scale


def read_tensor(path, name):
    with safe_open(path, "pt") as f:
        if name not in f.keys():
            raise Failure(f"reading {path}: no tensor {name!r}, only {', '.join(f.keys())}")
        return f.get_tensor(name)


def read_ids(path):
    """Token ids [texts, context]: a safetensors tensor "ids", a JSON array of arrays, or one JSON array a line."""
    if path.endswith(".safetensors"):
        return read_tensor(path, "ids").long()
    with open(path, encoding="utf-8") as f:
        text = f.read().strip()
    rows = json.loads(text) if text.startswith("[[") else [json.loads(line) for line in text.splitlines() if line.strip()]
    return torch.tensor(rows, dtype=torch.long)


def compare(name, got, want, scale=None):
    """Prints and returns the errors of one output. Scale None: each row's largest value."""
    want = torch.tensor(want, dtype=torch.float64)
    got = got.double()
    if got.shape != want.shape:
        raise Failure(f"{name}: shape {list(got.shape)} from the library, {list(want.shape)} in the file")
    if not (torch.isfinite(got).all() and torch.isfinite(want).all()):
        raise Failure(f"{name}: a value that is not finite")
    diff = (got - want).abs()
    base = got.abs().amax(-1, keepdim=True) if scale is None else torch.tensor(float(scale), dtype=torch.float64)
    e = {"shape": list(got.shape), "max_abs": diff.max().item(), "max_rel": (diff / base.clamp_min(1e-30)).max().item()}
    print(f"{name}: shape {e['shape']}, largest difference {e['max_abs']:.3g}, relative {e['max_rel']:.3g}", file=sys.stderr)
    return e


def run(args):
    with open(args.expect, encoding="utf-8") as f:
        expect = json.load(f)
    torch.set_num_threads(args.threads)
    encode_image, encode_text, logit_scale = (load_hf if args.layout == "hf" else load_openclip)(args.dir)
    out = {}
    with torch.inference_mode():
        if args.pixels:
            out["image_features"] = encode_image(read_tensor(args.pixels, args.tensor).float())
        if args.ids:
            out["text_features"] = encode_text(read_ids(args.ids))
        unit = {k: torch.nn.functional.normalize(v, dim=-1) for k, v in out.items()}
        scale = logit_scale.exp()
        if len(unit) == 2:
            out["logits_per_image"] = scale * unit["image_features"] @ unit["text_features"].T
        if not args.raw:
            out.update(unit)
    result = {}
    for name in ("image_features", "text_features", "logits_per_image"):
        there = bool(expect.get(name))
        if name in out and there:
            result[name] = compare(name, out[name], expect[name], scale if name == "logits_per_image" else None)
        elif there and name != "logits_per_image":
            raise Failure(f"{name}: in {args.expect}, but no {'--pixels' if 'image' in name else '--ids'} given")
    if not result:
        raise Failure(f"{args.expect}: nothing in it to compare with what was computed ({', '.join(out) or 'nothing'})")
    worst = max(e["max_rel"] for e in result.values())
    print(json.dumps({"layout": args.layout, "same": worst <= args.tolerance, "max_rel": worst, **result}))
    if worst > args.tolerance:
        print(f"load_patched.py: relative difference {worst:.3g} is over {args.tolerance:g}", file=sys.stderr)
        return 3
    return 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("dir", help="the directory that paint wrote")
    p.add_argument("--layout", choices=["hf", "openclip"], required=True)
    p.add_argument("--expect", required=True, metavar="EMBED.json", help="what `paint embed --json` printed")
    p.add_argument("--pixels", metavar="FILE.safetensors", help="normalised images [batch, 3, H, W]")
    p.add_argument("--tensor", default="pixels", help="its name in that file")
    p.add_argument("--ids", metavar="FILE", help="token ids, as `paint tokenize --json` prints them")
    p.add_argument("--raw", action="store_true", help="the file was made with `paint embed --raw`: features not normalised")
    p.add_argument("--tolerance", type=float, default=1e-5)
    p.add_argument("--threads", type=int, default=1)
    args = p.parse_args()
    try:
        return run(args)
    except (Failure, OSError, ValueError, RuntimeError, KeyError) as e:
        print(f"load_patched.py: {e}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
