"""Cross-entropy behind an LM head that does not learn: its gradient is computed with the loss, a chunk at a time.

Of a token's loss l the hidden state needs dl/dh = (softmax(Wh) − one-hot) W, whatever the loss is weighted by later. So
a chunk's logits are made once, used for both, and gone: nothing of the size of the vocabulary is kept, nothing is
recomputed. Liger's fused linear cross-entropy does the same with a gradient for W.
"""

from typing import Any

import torch

# Logits computed at once; in float32, 256 MiB. With few rows at a time a matrix product is slow.
CHUNK = 2**26


class FrozenHeadLosses(torch.autograd.Function):
    """(hidden [n, size], weight [vocabulary, size], targets [n], learns) → [n] losses in nats, float32 at least.

    Without `learns` no gradient is computed.
    """

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, learns: bool) -> Any:
        precise = torch.promote_types(hidden.dtype, torch.float32)
        losses = hidden.new_empty(len(targets), dtype=precise)
        gradient = torch.empty_like(hidden) if learns else None
        rows = CHUNK // len(weight)
        # GPUs multiply in tiles of 128 rows.
        rows = rows // 128 * 128 or max(1, rows)
        # One memory for all chunks: fresh pages would cost a CPU more than the sums in them.
        products = hidden.new_empty(min(rows, len(targets)), len(weight))
        exact = torch.empty_like(products, dtype=precise)
        for start in range(0, len(targets), rows):
            wanted = targets[start : start + rows, None]
            part = slice(start, start + len(wanted))
            product, logs = products[: len(wanted)], exact[: len(wanted)]
            torch.mm(hidden[part], weight.t(), out=product)
            torch.log_softmax(product, 1, dtype=precise, out=logs)
            chosen = logs.gather(1, wanted)
            losses[part] = -chosen[:, 0]
            if gradient is not None:
                errors = logs.exp_().scatter_add_(1, wanted, -torch.ones_like(chosen))
                torch.mm(product.copy_(errors), weight, out=gradient[part])
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:
        (gradient,) = ctx.saved_tensors
        return upstream[0][:, None].to(gradient.dtype) * gradient, None, None, None
