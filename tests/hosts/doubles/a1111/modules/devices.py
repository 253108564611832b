import contextlib

import torch

cpu = device = torch.device("cpu")
dtype = dtype_unet = dtype_vae = torch.float32
fp8 = unet_needs_upcast = False


def autocast(disable=False):
    return contextlib.nullcontext()


def torch_gc():
    pass
