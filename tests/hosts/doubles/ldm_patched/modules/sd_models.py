"""A1111's functions over Forge's loader; another checkpoint replaces the model object."""

import os

from ldm_patched.modules import model_management

checkpoints_list = {}
checkpoint_aliases = {}
files_read = []  # for the tests


class CheckpointInfo:
    def __init__(self, filename):
        self.filename, self.sha256 = str(filename), "0" * 64
        self.name = self.title = os.path.basename(self.filename)

    def register(self):
        checkpoints_list[self.title] = checkpoint_aliases[self.name] = self


class SdModelData:
    sd_model = None

    def get_sd_model(self):
        return self.sd_model or load_model()


model_data = SdModelData()


class SkipWritingToConfig:
    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass


def load_model(checkpoint_info=None):
    import classic_double

    info = checkpoint_info or next(iter(checkpoints_list.values()))
    if model_data.sd_model is not None:
        if model_data.sd_model.filename == info.filename:
            return model_data.sd_model
        model_data.sd_model = None
        model_management.unload_all_models()
    files_read.append(info.filename)
    model_data.sd_model = classic_double.load_model_for_a1111(info)
    return model_data.sd_model


def reload_model_weights(sd_model=None, info=None, forced_reload=False):
    return load_model(info)
