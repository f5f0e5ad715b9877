"""Times torch on the shapes of bench_kernel_matmul: python bench/kernel/matmul_peer.py [part of a line's name]."""
import sys

import torch
import torch.nn.functional as F

only = sys.argv[1] if len(sys.argv) > 1 else ""
bf16 = dict(device="cuda", dtype=torch.bfloat16)


def report(name, run, calls=4, flops=None, moved_bytes=None):
    if only not in name:
        return
    for i in range(min(calls, 4)):
        run(i)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(calls):
            run(i)
    best = float("inf")
    for _ in range(4):
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        graph.replay()
        stop.record()
        torch.cuda.synchronize()
        best = min(best, start.elapsed_time(stop) * 1e-3 / calls)
    rate = f"{flops / best * 1e-12:6.0f} TFLOP/s" if flops else f"{moved_bytes / best * 1e-12:6.2f} TB/s"
    print(f"torch {name:46s} {best * 1e6:9.2f} us  {rate}", flush=True)


layers = dict(qkv=(4096, 2048), o=(2048, 2048), gate_up=(12288, 2048), down=(2048, 6144))
for tokens in (4800, 16384, 32768):
    for layer, (n, k) in layers.items():
        x, w, dy = torch.randn(tokens, k, **bf16), torch.randn(n, k, **bf16), torch.randn(tokens, n, **bf16)
        y, dx = torch.empty_like(dy), torch.empty_like(x)
        flops = 2.0 * tokens * n * k
        report(f"gemm/fwd/{layer}/{tokens}x{k}->{n}", lambda i: torch.mm(x, w.t(), out=y), flops=flops)
        report(f"gemm/bwd/{layer}/{tokens}x{k}->{n}", lambda i: torch.mm(dy, w, out=dx), flops=flops)
        del x, w, dy, y, dx
for rows in (1, 8):
    for n, k in list(layers.values()) + [(151936, 2048)]:
        copies = max(2, int(600e6 / (2 * n * k)))
        x, w = torch.randn(rows, k, **bf16), torch.randn(copies, n, k, **bf16)
        report(f"few_rows/{rows}x{k}->{n}", lambda i: F.linear(x, w[i]), calls=copies, moved_bytes=2.0 * n * k)
        del w
