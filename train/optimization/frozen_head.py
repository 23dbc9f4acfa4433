"""Cross-entropy behind a frozen LM head: the gradient is computed together with the loss, one chunk at a time.

For a token's loss l, the hidden state's gradient is dl/dh = (softmax(Wh) − one-hot) W, whatever weight the loss gets
later. So a chunk's logits are computed once, used for both, and freed: nothing of the vocabulary's size is kept or
recomputed. Liger's fused linear cross-entropy does the same, with a gradient for W.
"""

from typing import Any

import torch

from pacos.train.model.structure import CHUNK_LOGITS


class FrozenHeadLosses(torch.autograd.Function):
    """(hidden [n, size], weight [vocabulary, size], labels [n], needs_gradient) → [n] losses in nats, at least float32.

    Without `needs_gradient` no gradient is computed.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, needs_gradient: bool
    ) -> Any:
        precise = torch.promote_types(hidden.dtype, torch.float32)
        losses = hidden.new_empty(len(labels), dtype=precise)
        gradient = torch.empty_like(hidden) if needs_gradient else None
        rows = CHUNK_LOGITS // len(weight)
        # GPUs multiply in tiles of 128 rows.
        rows = rows // 128 * 128 or max(1, rows)
        # One buffer for all chunks: on a CPU, fresh pages would cost more than the arithmetic.
        products = hidden.new_empty(min(rows, len(labels)), len(weight))
        exact = torch.empty_like(products, dtype=precise)
        for start in range(0, len(labels), rows):
            chunk_labels = labels[start : start + rows, None]
            part = slice(start, start + len(chunk_labels))
            product, logs = products[: len(chunk_labels)], exact[: len(chunk_labels)]
            torch.mm(hidden[part], weight.t(), out=product)
            torch.log_softmax(product, 1, dtype=precise, out=logs)
            chosen = logs.gather(1, chunk_labels)
            losses[part] = -chosen[:, 0]
            if gradient is not None:
                errors = logs.exp_().scatter_add_(1, chunk_labels, -torch.ones_like(chosen))
                torch.mm(product.copy_(errors), weight, out=gradient[part])
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:
        (gradient,) = ctx.saved_tensors
        return upstream[0][:, None].to(gradient.dtype) * gradient, None, None, None
