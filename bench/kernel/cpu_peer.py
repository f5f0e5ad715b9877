"""Times bench_kernel_cpu and PyTorch on the same shapes in one run and prints a Markdown table.

    python bench/kernel/cpu_peer.py build/bin/bench_kernel_cpu [--filter decode] [--repetitions 9]

Every number is the best of many runs: what else runs on the machine can only add time.
"""
import argparse
import json
import subprocess
import time

import torch
import torch.nn.functional as F


def best_ms(run, repetitions):
    run()
    best = float("inf")
    for _ in range(repetitions):
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < 0.05:
            once = time.perf_counter()
            run()
            best = min(best, time.perf_counter() - once)
            count += 1
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--filter", default=".")
    parser.add_argument("--repetitions", type=int, default=9)
    args = parser.parse_args()
    report = json.loads(subprocess.run(
        [args.program, "--benchmark_format=json", f"--benchmark_filter={args.filter}|roof", "--benchmark_min_time=0.05",
         f"--benchmark_repetitions={args.repetitions}"], check=True, capture_output=True, text=True).stdout)
    best = {}
    for run in report["benchmarks"]:
        if run["run_type"] != "iteration":
            continue
        known = best.setdefault(run["name"], run)
        if run.get("best_ms", 0) < known.get("best_ms", 0):
            best[run["name"]] = run
    roofs = {name: max(run.get("GB/s", 0), run.get("GFLOP/s", 0)) for name, run in best.items() if name.startswith("roof")}
    for name, value in roofs.items():
        print(f"{name.split('/iterations')[0]}: {value:.1f}")
    print("\n| kernel | ours | share of roof | torch | torch / ours |\n| --- | ---: | ---: | ---: | ---: |")
    for name, run in best.items():
        short = name.removesuffix("/real_time")
        peer = next((p for p in PEERS if short.startswith(p + "/")), None)
        if peer is None:
            continue
        sizes = [int(word) for word in short.split("/") if word.isdigit()]
        ours = run["best_ms"]
        theirs = best_ms(PEERS[peer](*sizes), args.repetitions)
        print(f"| {short} | {ours:.3f} ms | {100 * run['roof']:.0f} % | {theirs:.3f} ms | {theirs / ours:.2f} |", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
