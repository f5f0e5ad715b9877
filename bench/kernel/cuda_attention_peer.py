"""PyTorch's attention backends on the shapes of cuda_cudnn_attention_bench.cu: ms and TFLOP/s."""
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


def ms(call, repeats=20):
    for _ in range(3):
        call()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(repeats):
        call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / repeats


def run(name, backend, batch, length, heads, kv_heads, head_dim, causal):
    def tensor(h):
        return torch.randn(batch, length, h, head_dim, device="cuda", dtype=torch.bfloat16).transpose(1, 2)

    q, k, v, g = tensor(heads), tensor(kv_heads), tensor(kv_heads), tensor(heads)
    for t in (q, k, v):
        t.requires_grad_()
    flops = 4.0 * batch * heads * length * length * head_dim / (2 if causal else 1)
    try:
        with sdpa_kernel(backend):
            def attend():
                return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=heads != kv_heads)

            forward = ms(attend)
            o = attend()
            backward = ms(lambda: torch.autograd.grad(o, (q, k, v), g, retain_graph=True))
    except RuntimeError as e:
        print(f"{name:40} not supported: {str(e).splitlines()[0]}")
        return
    print(f"{name:40} fwd {forward:7.3f} ms {flops / forward * 1e-9:6.1f} TFLOP/s   "
          f"bwd {backward:7.3f} ms {2.5 * flops / backward * 1e-9:6.1f} TFLOP/s")


print("torch", torch.__version__, "cudnn", torch.backends.cudnn.version(), torch.cuda.get_device_name())
for label, backend in (("cudnn", SDPBackend.CUDNN_ATTENTION), ("flash", SDPBackend.FLASH_ATTENTION)):
    run(f"torch/{label}/8x2048 16/8x128 causal", backend, 8, 2048, 16, 8, 128, True)
    run(f"torch/{label}/2x8192 16/8x128 causal", backend, 2, 8192, 16, 8, 128, True)
    run(f"torch/{label}/8x2048 28/4x128 causal", backend, 8, 2048, 28, 4, 128, True)
    run(f"torch/{label}/16x1024 16/16x64 full", backend, 16, 1024, 16, 16, 64, False)
    run(f"torch/{label}/16x1024 16/16x80 full", backend, 16, 1024, 16, 16, 80, False)
