"""The model is loaded with the first image after it was chosen, in inference mode; A1111's functions do nothing."""

import gc
import os

import torch
from backend import memory_management

from modules import shared

checkpoints_list = {}
checkpoint_aliases = {}
files_read = []  # for the tests


class CheckpointInfo:
    def __init__(self, filename, sha256=None):
        self.filename = str(filename)
        self.name = os.path.basename(self.filename)
        self.name_for_extra = os.path.splitext(self.name)[0]
        self.sha256 = sha256
        self.title = f"{self.name} [{sha256[:10]}]" if sha256 else self.name

    def register(self):
        checkpoints_list[self.title] = self
        for alias in (self.title, self.name, self.name_for_extra):
            checkpoint_aliases[alias] = self

    def __repr__(self):
        return f"CheckpointInfo({self.name})"


class FakeInitialModel:
    cond_stage_model = None


class SdModelData:
    def __init__(self):
        self.sd_model = FakeInitialModel()
        self.forge_loading_parameters = {}
        self.forge_hash = ""

    def get_sd_model(self):
        return self.sd_model


model_data = SdModelData()


def choose(name):
    """What the top bar does."""
    info = checkpoint_aliases[name]
    shared.opts.data["sd_model_checkpoint"] = name
    model_data.forge_loading_parameters = {
        "checkpoint_info": info, "additional_modules": [], "unet_storage_dtype": None,
    }  # fmt: skip


def load_model(checkpoint_info=None):
    pass


def reload_model_weights(sd_model=None, info=None, forced_reload=False):
    pass


@torch.inference_mode()
def forge_model_reload():
    import forge_double

    wanted = str(model_data.forge_loading_parameters)
    if model_data.forge_hash == wanted:
        return model_data.sd_model, False
    if model_data.sd_model:
        model_data.sd_model = None
        memory_management.unload_all_models()
        gc.collect()
    info = model_data.forge_loading_parameters["checkpoint_info"]
    files_read.append(info.filename)
    sd_model = forge_double.StableDiffusion(info.filename)
    sd_model.sd_checkpoint_info = info
    model_data.sd_model = sd_model
    model_data.forge_hash = wanted
    return sd_model, True
