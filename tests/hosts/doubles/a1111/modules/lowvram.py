"""``--medvram``: hooks bring a part of the model to the GPU when it is called, and send the one before it away."""

import torch

from modules import devices, shared

module_in_gpu = None
cpu = torch.device("cpu")


def send_everything_to_cpu():
    global module_in_gpu
    if module_in_gpu is not None:
        module_in_gpu.to(cpu)
    module_in_gpu = None


def apply(sd_model):
    options = shared.cmd_opts
    if options.lowvram or options.medvram or (options.medvram_sdxl and hasattr(sd_model, "conditioner")):
        setup_for_low_vram(sd_model, not options.lowvram)
    else:
        sd_model.lowvram = False


def bring(module):
    global module_in_gpu
    if module_in_gpu == module:
        return
    if module_in_gpu is not None:
        module_in_gpu.to(cpu)
    module.to(devices.device)
    module_in_gpu = module


def setup_for_low_vram(sd_model, use_medvram):
    if sd_model.lowvram:
        return
    sd_model.lowvram = True
    vae = sd_model.first_stage_model
    for name in ("encode", "decode"):
        setattr(vae, name, brought_by(vae, getattr(vae, name)))
    if hasattr(sd_model, "conditioner"):
        called = moved = sd_model.conditioner
    else:
        moved = sd_model.cond_stage_model
        called = moved.transformer
    called.register_forward_pre_hook(lambda *_: bring(moved))
    if use_medvram:
        sd_model.model.register_forward_pre_hook(lambda *_: bring(sd_model.model))
        return
    unet = sd_model.model.diffusion_model
    blocks = [unet.time_embed, *unet.input_blocks, unet.middle_block, *unet.output_blocks]
    for child in unet.children():
        if not isinstance(child, torch.nn.ModuleList) and child not in blocks:
            child.to(devices.device)
    for block in blocks:
        block.register_forward_pre_hook(lambda block, _: bring(block))


def brought_by(vae, method):
    def wrapped(x):
        bring(vae)
        return method(x)

    return wrapped
