"""The LSTM recurrence of F folds at once, with its backward pass written by hand.

Automatic differentiation records about twenty small kernels per step and adds the recurrent
matrix's gradient K times; here a step costs seven kernels forward and eleven backward, and that
gradient is one batched product. Gates lie as input, forget, output, candidate.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SIGMOID_GRAD = torch.ops.aten.sigmoid_backward.grad_input
TANH_GRAD = torch.ops.aten.tanh_backward.grad_input


class Recurrence(torch.autograd.Function):
    """h[t] of `c = f c + i g; h = o tanh(c)` (Hochreiter & Schmidhuber 1997, with forget gates).

    `apply(pre [F,K,B,4H], w_h [F,H,4H], backward: bool) -> h [F,K,B,H]`; `backward` runs from
    the last keyframe to the first.
    """

    @staticmethod
    def forward(ctx: Any, pre: Tensor, w_h: Tensor, backward: bool) -> Tensor:
        size = w_h.shape[1]
        out = pre.new_empty(*pre.shape[:3], size)
        gates: list[Tensor] = []
        cells: list[Tensor] = []
        squashed: list[Tensor] = []
        order = range(pre.shape[1])
        last = -1
        for t in reversed(order) if backward else order:
            # A new tensor per step: MKL's batched product wants a contiguous result.
            gate = pre[:, t].clone() if last < 0 else torch.baddbmm(pre[:, t], out[:, last], w_h)
            gate[..., : 3 * size].sigmoid_()
            gate[..., 3 * size :].tanh_()
            i, f, o, g = gate.chunk(4, -1)
            cell = torch.addcmul(i * g, f, cells[-1]) if cells else i * g
            gates.append(gate)
            cells.append(cell)
            squashed.append(cell.tanh())
            torch.mul(o, squashed[-1], out=out[:, t])
            last = t
        ctx.save_for_backward(w_h, out, *gates, *cells, *squashed)
        ctx.reverse = backward
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        w_h, out, *saved = ctx.saved_tensors
        folds, steps, batch, size = out.shape
        gates, cells, squashed = (saved[n * steps : (n + 1) * steps] for n in range(3))
        d_pre = out.new_empty(folds, steps, batch, 4 * size)
        d_cell = out.new_zeros(folds, batch, size)
        d_h = torch.zeros_like(d_cell)
        work = torch.empty_like(d_cell)
        for n in range(steps - 1, -1, -1):
            t = steps - 1 - n if ctx.reverse else n
            d_h += grads[0][:, t]
            i, f, o, g = gates[n].chunk(4, -1)
            d_i, d_f, d_o, d_g = d_pre[:, t].chunk(4, -1)
            torch.mul(d_h, o, out=work)
            d_cell += TANH_GRAD(work, squashed[n], grad_input=work)
            torch.mul(d_h, squashed[n], out=d_o)
            torch.mul(d_cell, g, out=d_i)
            torch.mul(d_cell, i, out=d_g)
            if n:
                torch.mul(d_cell, cells[n - 1], out=d_f)
            else:
                d_f.zero_()
            squash = d_pre[:, t, :, : 3 * size]
            SIGMOID_GRAD(squash, gates[n][..., : 3 * size], grad_input=squash)
            TANH_GRAD(d_g, g, grad_input=d_g)
            d_cell *= f
            torch.bmm(d_pre[:, t], w_h.transpose(1, 2), out=d_h)
        if steps == 1:
            return d_pre, torch.zeros_like(w_h), None
        early, late = (1, 0) if ctx.reverse else (0, 1)
        before, after = out[:, early : steps - late], d_pre[:, late : steps - early]
        return d_pre, before.flatten(1, 2).transpose(1, 2) @ after.flatten(1, 2), None
