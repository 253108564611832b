"""Checkpoints and the one loaded model; another checkpoint of the same shape goes into the same modules."""

import os

import ldm_double
import networks
import torch

from modules import devices, lowvram, sd_hijack, sd_unet, shared

checkpoints_list = {}
checkpoint_aliases = {}
files_read = []  # for the tests


class CheckpointInfo:
    def __init__(self, filename, sha256=None):
        self.filename = str(filename)
        self.name = os.path.basename(self.filename)
        self.name_for_extra = os.path.splitext(self.name)[0]
        self.sha256 = sha256
        self.shorthash = sha256[:10] if sha256 else None
        self.title = f"{self.name} [{self.shorthash}]" if sha256 else self.name

    def register(self):
        checkpoints_list[self.title] = self
        for alias in (self.title, self.name, self.name_for_extra):
            checkpoint_aliases[alias] = self


class SdModelData:
    def __init__(self):
        self.sd_model = None

    def get_sd_model(self):
        if self.sd_model is None:
            load_model()
        return self.sd_model


model_data = SdModelData()


class SkipWritingToConfig:
    skip = False

    def __enter__(self):
        self.previous = SkipWritingToConfig.skip
        SkipWritingToConfig.skip = True
        return self

    def __exit__(self, *exc):
        SkipWritingToConfig.skip = self.previous


def select_checkpoint():
    return checkpoint_aliases.get(shared.opts.sd_model_checkpoint) or next(iter(checkpoints_list.values()))


def load_model(checkpoint_info=None):
    info = checkpoint_info or select_checkpoint()
    sd_model = ldm_double.LatentDiffusion(info.filename)
    load_weights(sd_model, info)
    send_model_to_device(sd_model)
    sd_hijack.model_hijack.hijack(sd_model)
    sd_model.eval()
    networks.assign_network_names(sd_model)
    model_data.sd_model = sd_model
    return sd_model


def load_weights(sd_model, info):
    files_read.append(info.filename)
    sd_model.float()
    sd_model.load_file(info.filename)
    devices.fp8 = shared.opts.fp8_storage == "Enable"
    if devices.fp8:
        for part in (sd_model.model, sd_model.cond_stage_model):
            for module in part.modules():
                if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
                    module.to(torch.float8_e4m3fn)
    sd_model.sd_checkpoint_info = info
    if not SkipWritingToConfig.skip:
        shared.opts.data["sd_model_checkpoint"] = info.title


def reload_model_weights(sd_model=None, info=None, forced_reload=False):
    info = info or select_checkpoint()
    sd_model = sd_model or model_data.sd_model
    if sd_model is None:
        return load_model(info)
    if sd_model.sd_checkpoint_info.filename == info.filename and not forced_reload:
        return sd_model
    if ldm_double.shape_of(info.filename) != sd_model.shape:
        sd_model.to("meta")
        return load_model(info)
    sd_unet.apply_unet("None")
    lowvram.send_everything_to_cpu()
    sd_hijack.model_hijack.undo_hijack(sd_model)
    networks.forget_merged(sd_model)
    load_weights(sd_model, info)
    sd_hijack.model_hijack.hijack(sd_model)
    sd_unet.apply_unet()
    return sd_model


def send_model_to_cpu(m):
    if m is not None:
        m.to("cpu")


def send_model_to_device(m):
    lowvram.apply(m)
    if not m.lowvram:
        m.to(devices.device)


def apply_token_merging(sd_model, ratio):
    sd_model.applied_token_merged_ratio = ratio


def rescale(alphas):
    root = alphas.sqrt()
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2


def zero_terminal_snr(sd_model):
    """What the setting "Noise schedule: Zero Terminal SNR" does for as long as it is on."""
    with torch.no_grad():
        sd_model.alphas_cumprod = rescale(sd_model.alphas_cumprod_original)
