"""The peer of attention_bench.cu: torch's scaled_dot_product_attention on the same shapes, bf16, median of events."""
import statistics
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention as attention

SHAPES = [("Qwen3-VL-2B", 8, 2048, 16, 8, 128, True), ("Qwen3-VL-8B", 2, 8192, 32, 8, 128, True),
          ("vision 64", 8, 2048, 16, 16, 64, False), ("vision 72", 8, 2048, 16, 16, 72, False)]


def median_ms(run, times=15):
    spans = []
    for i in range(times + 3):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record(), run(), end.record()
        torch.cuda.synchronize()
        spans.append(begin.elapsed_time(end))
    return statistics.median(spans[3:])


print(torch.cuda.get_device_name(), "torch", torch.__version__, "cudnn", torch.backends.cudnn.version())
for name, batch, tokens, heads, kv_heads, dim, causal in SHAPES:
    def random(h):
        return torch.randn(batch, tokens, h, dim, device="cuda", dtype=torch.bfloat16).transpose(1, 2).requires_grad_()
    q, k, v, dout = random(heads), random(kv_heads), random(kv_heads), random(heads).detach()
    flops = 4 * batch * tokens * tokens * heads * dim * (0.5 if causal else 1)
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
        try:
            with sdpa_kernel([backend]):
                gqa = dict(enable_gqa=True) if kv_heads != heads else {}
                run = lambda: attention(q, k, v, is_causal=causal, **gqa)
                with torch.no_grad():
                    fwd = median_ms(run)
                o = run()
                bwd = median_ms(lambda: torch.autograd.grad(o, (q, k, v), dout, retain_graph=True))
            print(f"{name:14} {backend.name:16} fwd {fwd:7.3f} ms {flops / fwd * 1e-9:4.0f} TFLOP/s   "
                  f"bwd {bwd:7.3f} ms {2.5 * flops / bwd * 1e-9:4.0f} TFLOP/s", flush=True)
        except RuntimeError as error:
            print(f"{name:14} {backend.name:16} refused: {str(error)[:100]}", flush=True)
