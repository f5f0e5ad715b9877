"""Times bench_kernel_cpu and PyTorch on the same shapes in one run and prints a Markdown table.

    python bench/kernel/cpu_peer.py build/bin/bench_kernel_cpu [--filter decode] [--rounds 5]

Rounds of both alternate, and every number, the machine's roofs too, is the best of all rounds: what else runs on the
machine can only add time.
"""
import argparse
import json
import subprocess
import time

import torch
import torch.nn.functional as F


def best_ms(run, seconds=0.03):
    run()
    best, start = float("inf"), time.perf_counter()
    while time.perf_counter() - start < seconds:
        once = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - once)
    return best * 1e3


def linear(m, n, k, half):
    dtype = torch.bfloat16 if half else torch.float32
    x, w = torch.randn(m, k, dtype=dtype), torch.randn(n, k, dtype=dtype)
    return lambda: F.linear(x, w)


def linear_backward(m, n, k):
    x, w, dy = torch.randn(m, k), torch.randn(n, k), torch.randn(m, n)
    dw = torch.zeros(n, k)
    return lambda: (dy @ w, dw.addmm_(dy.t(), x))


def attention(queries, keys, heads, kv_heads, head_dim, backward):
    q, k, v = (torch.randn(1, h, n, head_dim) for h, n in ((heads, queries), (kv_heads, keys), (kv_heads, keys)))
    if not backward:
        return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=queries > 1, enable_gqa=True)
    for t in (q, k, v):
        t.requires_grad_()
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    seed = torch.randn_like(out)
    return lambda: torch.autograd.grad(out, (q, k, v), seed, retain_graph=True)


def head_loss(rows, width, vocab):
    x, w = torch.randn(rows, width, requires_grad=True), torch.randn(vocab, width, requires_grad=True)
    target = torch.randint(vocab, (rows,))

    def run():
        torch.autograd.grad(F.cross_entropy(F.linear(x, w), target, reduction="sum"), (x, w))

    return run


PEERS = {
    "matmul/decode": linear,
    "matmul/prefill": linear,
    "matmul/train_forward": linear,
    "matmul/train_backward": linear_backward,
    "attention": attention,
    "head_loss": head_loss,
}


def run_ours(program, pattern):
    """name -> counters of one round"""
    report = json.loads(subprocess.run(
        [program, "--benchmark_format=json", f"--benchmark_filter={pattern}|roof", "--benchmark_min_time=0.03"],
        check=True, capture_output=True, text=True).stdout)
    return {run["name"].removesuffix("/real_time"): run for run in report["benchmarks"]}


def peer_of(name):
    peer = next(make for prefix, make in PEERS.items() if name.startswith(prefix + "/"))
    return peer(*(int(word) for word in name.split("/") if word.isdigit()))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--filter", default=".")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    roof, rate, ours, theirs = {}, {}, {}, {}
    for _ in range(args.rounds):
        for name, run in run_ours(args.program, args.filter).items():
            unit = "GB/s" if "GB/s" in run else "GFLOP/s"
            if name.startswith("roof"):
                key = name.split("/iterations")[0]
                roof[key] = max(roof.get(key, 0), run[unit])
                continue
            rate[name] = max(rate.get(name, (0, unit)), (run[unit], unit))
            ours[name] = min(ours.get(name, float("inf")), run["best_ms"])
            theirs[name] = min(theirs.get(name, float("inf")), best_ms(peer_of(name)))
    for name, value in roof.items():
        print(f"{name}: {value:.1f}")
    print("\n| kernel | ours | rate | of roof | torch | torch / ours |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, (value, unit) in rate.items():
        half = "bf16" in name and name.endswith("/1")
        limit = roof["roof_read"] if unit == "GB/s" else roof[f"roof_peak/bf16/{int(half)}"]
        print(f"| {name} | {ours[name]:.3f} ms | {value:.1f} {unit} | {100 * value / limit:.0f} % | {theirs[name]:.3f} ms "
              f"| {theirs[name] / ours[name]:.2f} |", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
