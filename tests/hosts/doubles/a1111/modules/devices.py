import contextlib

import torch

cpu = device = torch.device("cpu")
dtype = dtype_unet = dtype_vae = dtype_inference = torch.float32
fp8 = unet_needs_upcast = False
no_autocast = False  # a GTX 16xx, MPS or XPU


def autocast(disable=False):
    if disable:
        return contextlib.nullcontext()
    if no_autocast:
        return manual_cast(dtype)
    if fp8:
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return contextlib.nullcontext()


@contextlib.contextmanager
def manual_cast(target):
    """Each layer widened for the length of its forward; only as long as this block lasts."""
    kinds = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.GroupNorm, torch.nn.LayerNorm)
    own = {kind: kind.forward for kind in kinds}

    def cast(kind):
        def forward(self, *args):
            stored = next(self.parameters()).dtype
            self.to(target)
            result = own[kind](self, *(arg.to(target) for arg in args))
            self.to(stored)
            return result.to(dtype_inference)

        return forward

    try:
        for kind in kinds:
            kind.forward = cast(kind)
        yield
    finally:
        for kind in kinds:
            kind.forward = own[kind]


def torch_gc():
    pass
