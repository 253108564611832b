"""Muon for matrices and convolutions, AdamW for everything else.

Source: Keller Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # quintic coefficients of the reference


def orthogonalised(g: Tensor, steps: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrices of a stack ``g`` [n, rows, cols], approximately."""
    a, b, c = NEWTON_SCHULZ
    x = g.mT if g.size(-2) > g.size(-1) else g
    x = x / (x.flatten(-2).norm(dim=-1)[..., None, None] + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if g.size(-2) > g.size(-1) else x


class MuonAdam(torch.optim.Optimizer):
    """One optimizer for a whole network.

    Args:
        named_parameters: pairs of name and parameter.
        lr: step of the orthogonalised update; AdamW takes ``adam_lr``.
        momentum: Nesterov momentum of Muon.
        adam_names: substrings of the names of matrices that AdamW shall have: embeddings, first and last layer.
    """

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        lr: float = 0.02,
        adam_lr: float = 3e-3,
        momentum: float = 0.95,
        adam_names: tuple[str, ...] = (),
    ):
        matrices: dict[tuple[int, int], list[nn.Parameter]] = {}
        rest = []
        for name, p in named_parameters:
            if p.ndim >= 2 and not any(n in name for n in adam_names):
                matrices.setdefault((p.shape[0], p[0].numel()), []).append(p)
            else:
                rest.append(p)
        groups = [{"params": ps, "lr": lr, "momentum": momentum, "shape": shape} for shape, ps in matrices.items()]
        super().__init__(groups, {})
        self.adam = torch.optim.AdamW(rest, lr=adam_lr, betas=(0.9, 0.95), weight_decay=0.0, foreach=True)
        self._base = (lr, adam_lr)

    def set_factor(self, factor: float) -> None:
        """Scale both learning rates to ``factor`` times their base."""
        for g in self.param_groups:
            g["lr"] = self._base[0] * factor
        for g in self.adam.param_groups:
            g["lr"] = self._base[1] * factor

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """Update the matrices by Muon and all else by Adam; ``closure`` is not called."""
        for group in self.param_groups:
            shape = group["shape"]
            grads = torch.stack([p.grad.reshape(shape) for p in group["params"]])
            state = self.state[group["params"][0]]
            buffer = state.setdefault("momentum", torch.zeros_like(grads))
            buffer.lerp_(grads, 1 - group["momentum"])
            update = orthogonalised(grads.lerp(buffer, group["momentum"]))
            scale = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
            for p, u in zip(group["params"], update, strict=True):
                p.add_(u.reshape(p.shape), alpha=-scale)
        self.adam.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Of what Muon updates and of what AdamW does."""
        super().zero_grad(set_to_none)
        self.adam.zero_grad(set_to_none)

    def full_state(self) -> dict:
        """Both states, for :meth:`load_full_state`."""
        return {"muon": self.state_dict(), "adam": self.adam.state_dict()}

    def load_full_state(self, state: dict) -> None:
        """Go on from what :meth:`full_state` gave."""
        self.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])
