"""The yardstick for `paint bench`: the same shapes in PyTorch (eager or compiled) or ONNX Runtime, on random weights.

  python bench.py --arch ViT-B-32 --mode train --batch-size 32 --threads 1
  LD_PRELOAD=./libmkl_on_amd.so python bench.py ...                      (AMD: see mkl_on_amd.c)

Prints one JSON object with the keys of `paint bench --json`: ms.min and ms.median of a call over the whole batch,
gflops (multiply and add counted as two, at the median), peak_rss_bytes of the process, and what was measured.

A training step is paint's: image tower forward, L2-normalised features times a frozen 10-class head times 100,
cross-entropy, backward, gradient norm clipped to 1, AdamW (fused, lr 1e-5, weight decay 0.1).
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Arch:
    image: int
    patch: int
    width: int
    layers: int
    heads: int
    embed: int
    context: int
    vocab: int
    text_width: int
    text_layers: int
    text_heads: int
    batch: int  # default batch size

    @property
    def tokens(self):
        return (self.image // self.patch) ** 2 + 1


ARCHS = {
    "embedded": Arch(48, 8, 128, 4, 2, 128, 24, 4096, 128, 2, 2, 64),
    "tiny": Arch(32, 4, 192, 6, 3, 512, 77, 49408, 192, 4, 3, 64),
    "ViT-B-32": Arch(224, 32, 768, 12, 12, 512, 77, 49408, 512, 12, 8, 32),
    "ViT-B-16": Arch(224, 16, 768, 12, 12, 512, 77, 49408, 512, 12, 8, 8),
    "ViT-L-14": Arch(224, 14, 1024, 24, 16, 768, 77, 49408, 768, 12, 12, 4),
}


def block_flops(layers, tokens, width):
    """Of one sequence through the blocks: 12 width^2 weights a token, and the two products of attention."""
    return layers * (2 * tokens * 12 * width * width + 4 * tokens * tokens * width)


def flops(a, mode):
    """Of one item; a training step counts as three forward passes."""
    if mode == "encode-text":
        return block_flops(a.text_layers, a.context, a.text_width) + 2 * a.text_width * a.embed
    patches = 2 * (a.tokens - 1) * 3 * a.patch * a.patch * a.width
    f = block_flops(a.layers, a.tokens, a.width) + patches + 2 * a.width * a.embed
    return 3 * f if mode == "train" else f


def towers(torch, a):
    """Image and text tower, with CLIP's blocks over torch's own fused attention."""
    nn, F = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self, width, heads, causal):
            super().__init__()
            self.heads, self.causal = heads, causal
            self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.fc, self.proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            b, t, w = x.shape
            q, k, v = self.qkv(self.ln_1(x)).view(b, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
            o = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
            x = x + self.out(o.transpose(1, 2).reshape(b, t, w))
            h = self.fc(self.ln_2(x))
            return x + self.proj(h * torch.sigmoid(1.702 * h))

    class Image(nn.Module):
        def __init__(self):
            super().__init__()
            w = a.width
            self.conv = nn.Conv2d(3, w, a.patch, a.patch, bias=False)
            self.cls = nn.Parameter(torch.randn(w) * 0.02)
            self.pos = nn.Parameter(torch.randn(a.tokens, w) * 0.02)
            self.pre, self.post = nn.LayerNorm(w), nn.LayerNorm(w)
            self.blocks = nn.Sequential(*[Block(w, a.heads, False) for _ in range(a.layers)])
            self.head = nn.Parameter(torch.randn(w, a.embed) * 0.02)

        def forward(self, x):
            x = self.conv(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.cls.expand(x.shape[0], 1, -1).to(x.dtype), x], 1) + self.pos.to(x.dtype)
            return self.post(self.blocks(self.pre(x))[:, 0]) @ self.head

    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            w = a.text_width
            self.embed = nn.Embedding(a.vocab, w)
            self.pos = nn.Parameter(torch.randn(a.context, w) * 0.02)
            self.post = nn.LayerNorm(w)
            self.blocks = nn.Sequential(*[Block(w, a.text_heads, True) for _ in range(a.text_layers)])
            self.head = nn.Parameter(torch.randn(w, a.embed) * 0.02)

        def forward(self, ids):
            x = self.post(self.blocks(self.embed(ids) + self.pos))
            return x[torch.arange(ids.shape[0]), ids.argmax(-1)] @ self.head

    return Image, Text


def torch_call(torch, a, args, model, x):
    """The function to time."""
    F = torch.nn.functional
    bf16 = args.compute == "bf16"

    def amp():
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16)

    run = torch.compile(model) if args.runtime == "compile" else model
    if args.mode != "train":
        model.eval()

        def call():
            with torch.inference_mode(), amp():
                return run(x)

        return call

    head = F.normalize(torch.randn(a.embed, 10), dim=0)
    labels = torch.arange(args.batch_size) % 10
    params = list(model.parameters())
    opt = torch.optim.AdamW(params, lr=1e-5, weight_decay=0.1, fused=True)

    def step():
        opt.zero_grad(set_to_none=True)
        with amp():
            z = run(x)
        loss = F.cross_entropy(100 * F.normalize(z.float(), dim=-1) @ head, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()

    return step


def onnx_export(args):
    """Write the model's ONNX file. Its own process, so that PyTorch's memory is not in ONNX Runtime's peak."""
    import torch

    a = ARCHS[args.arch]
    torch.manual_seed(1)
    image, text = towers(torch, a)
    model = (text if args.mode == "encode-text" else image)().eval()
    torch.onnx.export(model, (example(torch, a, args),), args.export, opset_version=17, dynamo=False,
                      input_names=["input"], output_names=["features"])


def onnx_call(a, args):
    import subprocess

    import numpy as np
    import onnxruntime as ort

    if args.mode == "train":
        sys.exit("bench.py: onnxruntime has no training here: use --runtime torch or compile")
    if args.compute != "f32":
        sys.exit("bench.py: onnxruntime is measured in f32 only")
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, "model.onnx")
        env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
        subprocess.run([sys.executable, os.path.abspath(__file__), "--arch", args.arch, "--mode", args.mode,
                        "--batch-size", str(args.batch_size), "--export", path],
                       check=True, stdout=sys.stderr, stderr=subprocess.DEVNULL, env=env)
        so = ort.SessionOptions()
        so.intra_op_num_threads, so.inter_op_num_threads = args.threads, 1
        session = ort.InferenceSession(path, so, providers=["CPUExecutionProvider"])
    r = np.random.default_rng(1)
    if args.mode == "encode-text":
        x = r.integers(1, a.vocab - 2, (args.batch_size, a.context))
        x[:, -1] = a.vocab - 1
    else:
        x = r.normal(size=(args.batch_size, 3, a.image, a.image)).astype(np.float32)
    return lambda: session.run(None, {"input": x}), "onnxruntime " + ort.__version__


def example(torch, a, args):
    if args.mode == "encode-text":
        ids = torch.randint(1, a.vocab - 2, (args.batch_size, a.context))
        ids[:, -1] = a.vocab - 1  # end-of-text, the largest id, where CLIP pools
        return ids
    return torch.randn(args.batch_size, 3, a.image, a.image)


def lifted():
    """Whether the loaded MKL was told that the processor is Intel's (see mkl_on_amd.c)."""
    try:
        with open("/proc/self/maps") as f:
            return any("mkl_on_amd" in line for line in f)
    except OSError:
        return False


def measure(call, reps, seconds, warm):
    """Times of at least reps calls, more while seconds have not passed, after warm calls."""
    for _ in range(warm):
        call()
    times, begin = [], time.perf_counter()
    while len(times) < reps or (time.perf_counter() - begin < seconds and len(times) < 1000):
        t = time.perf_counter()
        call()
        times.append(time.perf_counter() - t)
    return times


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--arch", choices=ARCHS, default="tiny")
    p.add_argument("--mode", choices=["encode-image", "encode-text", "train"], default="encode-image")
    p.add_argument("--batch-size", type=int, help="default: the architecture's (tiny 64, ViT-B-32 32)")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--compute", choices=["f32", "bf16"], default="f32", help="bf16 is autocast")
    p.add_argument("--runtime", choices=["torch", "compile", "onnxruntime"], default="torch")
    p.add_argument("--reps", type=int, default=5, help="timed calls, at least")
    p.add_argument("--seconds", type=float, default=2, help="go on timing for so long")
    p.add_argument("--warm", type=int, default=2, help="calls before the clock starts")
    p.add_argument("--export", help=argparse.SUPPRESS)
    args = p.parse_args()
    a = ARCHS[args.arch]
    args.batch_size = args.batch_size or a.batch
    if args.export:
        return onnx_export(args)

    for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[k] = str(args.threads)
    if args.runtime == "onnxruntime":
        call, version = onnx_call(a, args)
    else:
        import torch

        torch.set_num_threads(args.threads)
        torch.manual_seed(1)
        image, text = towers(torch, a)
        model = (text if args.mode == "encode-text" else image)()
        call, version = torch_call(torch, a, args, model, example(torch, a, args)), "torch " + torch.__version__
    times = measure(call, args.reps, args.seconds, args.warm)
    median = statistics.median(times)
    print(json.dumps({
        "ms": {"min": round(min(times) * 1e3, 3), "median": round(median * 1e3, 3)},
        "gflops": round(flops(a, args.mode) * args.batch_size / median / 1e9, 1),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "items_per_s": round(args.batch_size / median, 2),
        "arch": args.arch, "mode": args.mode, "batch_size": args.batch_size, "threads": args.threads,
        "compute": args.compute, "runtime": args.runtime, "version": version, "mkl_lifted": lifted(),
        "reps": len(times),
    }))


if __name__ == "__main__":
    main()
