"""Patches are merged when a model is loaded, and taken out when another clone of it is."""

import torch

current_loaded_models = []


def move(module):
    """Like ``module.to(device)``: the parameters stay, what they hold is new."""
    for p in module.parameters():
        p.data = p.data.clone()


def load_models_gpu(models, memory_required=0):
    for patcher in models:
        if any(patcher is loaded for loaded in current_loaded_models):
            continue
        for clone in [m for m in current_loaded_models if m.model is patcher.model]:
            clone.unpatch_model()
            current_loaded_models.remove(clone)
        move(patcher.model)
        patcher.patch_model()
        current_loaded_models.insert(0, patcher)


def load_model_gpu(model):
    load_models_gpu([model])


def unload_all_models():
    for patcher in current_loaded_models:
        patcher.unpatch_model()
        move(patcher.model)
    current_loaded_models.clear()


def soft_empty_cache(force=False):
    pass


class ModelPatcher:
    def __init__(self, model):
        self.model, self.patches, self.backup = model, {}, {}
        self.load_device = self.offload_device = torch.device("cpu")

    def clone(self):
        other = type(self)(self.model)
        other.patches = dict(self.patches)
        return other

    def patch_model(self):
        for key, delta in self.patches.items():
            weight = self.backup[key] = self.model.get_parameter(key)
            self._put(key, torch.nn.Parameter(weight + delta.reshape(weight.shape), requires_grad=False))

    def unpatch_model(self):
        while self.backup:
            self._put(*self.backup.popitem())

    def _put(self, key, weight):
        path, _, name = key.rpartition(".")
        self.model.get_submodule(path)._parameters[name] = weight
