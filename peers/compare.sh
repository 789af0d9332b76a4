#!/usr/bin/env bash
# paint bench beside PyTorch (stock, MKL lifted, compiled) and ONNX Runtime: the same shapes, runs interleaved for
# several rounds so that a slow minute of the machine meets all of them, medians as a Markdown table.
#
#	peers/compare.sh [--rounds 3] [--threads "1 2"] [--cases "tiny:encode-image:64 ViT-B-32:train:32"]
#	                 [--peers "stock lifted compile onnxruntime"] [--compute f32|bf16]
#	                 [--python VENV/bin/python] [--paint FILE] [--out DIR] [--reps 3] [--seconds 1.5] [--cool 0]
#
# A case is ARCH:MODE:BATCH. The table goes to standard output, each run's JSON line to DIR/runs.jsonl. A peer that
# cannot run a case (ONNX Runtime does not train) is left out of it with a line on standard error.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
rounds=3 threads="1 2" reps=3 seconds=1.5 cool=0 compute=f32
cases="embedded:encode-image:64 embedded:train:64 tiny:encode-image:64 tiny:train:64 ViT-B-32:encode-image:32 ViT-B-32:encode-text:32 ViT-B-32:train:32"
peers="stock lifted onnxruntime"
python=python3 paint="" out=""
while [ $# -gt 0 ]; do
	case $1 in
	--rounds | --threads | --cases | --peers | --compute | --python | --paint | --out | --reps | --seconds | --cool)
		[ $# -ge 2 ] || { echo "compare.sh: $1 needs a value" >&2 && exit 2; }
		declare "${1#--}=$2"
		shift 2
		;;
	-h | --help)
		sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
		exit 0
		;;
	*)
		echo "compare.sh: unknown argument $1" >&2
		exit 2
		;;
	esac
done

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
out=${out:-$tmp}
mkdir -p "$out"
: >"$out/runs.jsonl"

if [ -z "$paint" ]; then
	(cd "$here/.." && go build -o "$tmp/paint" ./cmd/paint)
	paint=$tmp/paint
fi
case " $peers " in
*" lifted "* | *" compile "*) cc -O2 -shared -fPIC -o "$tmp/libmkl_on_amd.so" "$here/mkl_on_amd.c" ;;
esac

# one WHO ARCH MODE BATCH THREADS: one process, its JSON on standard output. The compiled peer is lifted too.
one() {
	local who=$1 arch=$2 mode=$3 batch=$4 n=$5
	local shape=(--arch "$arch" --mode "$mode" --batch-size "$batch" --threads "$n" --compute "$compute")
	local bench=("$python" "$here/bench.py" "${shape[@]}" --reps "$reps" --seconds "$seconds")
	case $who in
	paint) "$paint" bench "${shape[@]}" --json ;;
	stock) "${bench[@]}" ;;
	lifted) LD_PRELOAD=$tmp/libmkl_on_amd.so "${bench[@]}" ;;
	compile) LD_PRELOAD=$tmp/libmkl_on_amd.so "${bench[@]}" --runtime compile ;;
	onnxruntime) "${bench[@]}" --runtime onnxruntime ;;
	*) echo "compare.sh: unknown peer $who" >&2 && return 2 ;;
	esac
}

for ((round = 1; round <= rounds; round++)); do
	for n in $threads; do
		for c in $cases; do
			IFS=: read -r arch mode batch <<<"$c"
			for who in paint $peers; do
				if [ "$who" = onnxruntime ] && { [ "$mode" = train ] || [ "$compute" != f32 ]; }; then continue; fi
				load=$(cut -d ' ' -f 1 /proc/loadavg 2>/dev/null || echo null)
				if ! line=$(one "$who" "$arch" "$mode" "$batch" "$n" 2>"$tmp/err"); then
					echo "compare.sh: $who $c, $n threads: $(tail -n 1 "$tmp/err")" >&2
					continue
				fi
				printf '{"who":"%s","arch":"%s","mode":"%s","batch":%s,"threads":%s,"round":%s,"load":%s,"result":%s}\n' \
					"$who" "$arch" "$mode" "$batch" "$n" "$round" "${load:-null}" "$(tr -d '\n' <<<"$line")" >>"$out/runs.jsonl"
				sleep "$cool"
			done
		done
	done
done

"$python" - "$out/runs.jsonl" <<'PY'
import json, statistics, sys

runs = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
if not runs:
    sys.exit("compare.sh: no run succeeded")
cases, peers = {}, []
for r in runs:
    cases.setdefault((r["arch"], r["mode"], r["batch"], r["threads"]), {}).setdefault(r["who"], []).append(r)
    if r["who"] not in peers:
        peers.append(r["who"])
others = [p for p in peers if p != "paint"]
med = lambda rs, f: statistics.median(f(r["result"]) for r in rs)
cells = lambda row: "| " + " | ".join(row) + " |"
print(cells(["architecture", "mode", "batch", "threads"] + [p + " ms" for p in peers] +
            [p + " / paint" for p in others] + ["peak MB " + p for p in peers]))
print(cells(["---"] * (4 + 2 * len(peers) + len(others))))
for key, by in cases.items():
    ms = {p: med(rs, lambda x: x["ms"]["median"]) for p, rs in by.items()}
    rss = {p: med(rs, lambda x: x["peak_rss_bytes"]) / 1e6 for p, rs in by.items()}
    ratio = lambda p: f"{ms[p] / ms['paint']:.2f}x" if p in ms and "paint" in ms else ""
    print(cells([*map(str, key)] + [f"{ms[p]:.1f}" if p in ms else "" for p in peers] + [ratio(p) for p in others] +
                [f"{rss[p]:.0f}" if p in rss else "" for p in peers]))
loads = [r["load"] for r in runs if r["load"] is not None]
versions = sorted({r["result"]["version"] for r in runs if "version" in r["result"]})
print(f"\nMedians over {max(r['round'] for r in runs)} interleaved rounds; "
      f"{', '.join(versions)}; load before a run {min(loads, default=0):.2f} to {max(loads, default=0):.2f}.")
PY
