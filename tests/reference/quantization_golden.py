"""What bitsandbytes stores of small matrices and reads back: tests/golden/core/quantization.safetensors.

    python tests/reference/quantization_golden.py

<case>.w          (rows, cols) bf16
<case>.codes      packed codes, or int8
<case>.scales     of the blocks, fp32; if double quantised, of the blocks of scales
<case>.offset     what double quantised scales add
<case>.scale_codes
<case>.read       FNV-1a of the bytes of (rows, cols) fp32, dequantised
scale_values      the 256 values of scales' codes

nf4, fp4 (double quantised: "nested") and int8, with blocks that are cut short, zeros, one large element and elements in
the middle between two codes. All are computed by bitsandbytes' own PyTorch implementation: its CPU library rounds scales
of scales to the next but one code at times, and reads rows that are no multiple of a block wrongly.
"""

import pathlib

import bitsandbytes.functional as bnb
import torch
from safetensors.torch import save_file

FILE = pathlib.Path(__file__).resolve().parents[1] / "golden/core/quantization.safetensors"


def use_pytorch_kernels() -> None:
    """bitsandbytes' "default" kernels, which its CUDA kernels equal, in place of those of its CPU library."""
    for name in ("quantize_blockwise", "dequantize_blockwise", "dequantize_4bit"):
        op = getattr(torch.ops.bitsandbytes, name).default
        default = torch._C.DispatchKey.CompositeExplicitAutograd
        setattr(torch.ops.bitsandbytes, name, type("Op", (), {"default": staticmethod(
            lambda *a, op=op, default=default, **k: op._op_dk(default, *a, **k))}))


def fnv(values: torch.Tensor) -> torch.Tensor:
    hash = 14695981039346656037
    for byte in values.float().contiguous().numpy().tobytes():
        hash = (hash ^ byte) * 1099511628211 % 2**64
    return torch.tensor([hash - 2**64 if hash >= 2**63 else hash])


def matrices() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(7)
    normal = torch.randn(40, 448, generator=draw) * torch.rand(40, 1, generator=draw) * 0.1  # 280 blocks
    ragged = torch.randn(9, 40, generator=draw) * 0.05
    edges = torch.randn(4, 128, generator=draw)
    edges[0] = 0
    edges[1, 5] = 1000
    code = bnb.get_4bit_type("nf4", "cpu")
    edges[2, :15] = (code[:-1] + code[1:]) / 2
    edges[2, 15:30] = bnb.get_4bit_type("fp4", "cpu")[:15]
    edges[2, 30:63] = 0.5
    edges[2, 63] = 1
    return {name: w.bfloat16() for name, w in (("normal", normal), ("ragged", ragged), ("edges", edges))}


def main() -> None:
    use_pytorch_kernels()
    out = {"scale_values": bnb.create_dynamic_map()}
    for kind, w in matrices().items():
        for code in ("nf4", "fp4"):
            for nested in (False, True):
                case = f"{kind}.{code}{'.nested' if nested else ''}"
                codes, state = bnb.quantize_4bit(w.float(), blocksize=64, compress_statistics=nested, quant_type=code)
                out[f"{case}.codes"] = codes.flatten()
                out[f"{case}.scales"] = state.state2.absmax if nested else state.absmax
                if nested:
                    out[f"{case}.offset"] = state.offset.reshape(1)
                    out[f"{case}.scale_codes"] = state.absmax
                out[f"{case}.read"] = fnv(bnb.dequantize_4bit(codes, state))
        codes, scales, _ = bnb.int8_vectorwise_quant(w.half())
        out[f"{kind}.int8.codes"] = codes
        out[f"{kind}.int8.scales"] = scales
        out[f"{kind}.int8.read"] = fnv(bnb.int8_vectorwise_dequant(codes, scales))
        out[f"{kind}.w"] = w
    save_file({name: tensor.contiguous() for name, tensor in out.items()}, FILE)


if __name__ == "__main__":
    main()
