"""A model with patches; the patches get merged into its weights, and stay until other ones are wanted."""

import torch


class LoraLoader:
    def __init__(self, model):
        self.model = model
        self.backup = {}
        self.loaded_hash = str([])

    @torch.inference_mode()
    def refresh(self, lora_patches):
        hashes = str(list(lora_patches))
        if hashes == self.loaded_hash:
            return
        for key, weight in self.backup.items():
            put(self.model, key, weight)
        self.backup = {}
        for patches in lora_patches.values():
            for key, delta in patches.items():
                weight = self.model.get_parameter(key)
                self.backup.setdefault(key, weight)
                merged = (weight.float() + delta.reshape(weight.shape)).to(weight.dtype)
                put(self.model, key, torch.nn.Parameter(merged, requires_grad=False))
        self.loaded_hash = hashes


def put(model, key, weight):
    path, _, name = key.rpartition(".")
    model.get_submodule(path)._parameters[name] = weight


class ModelPatcher:
    def __init__(self, model):
        self.model = model
        self.load_device = self.offload_device = torch.device("cpu")
        self.lora_patches = {}
        if not hasattr(model, "lora_loader"):
            model.lora_loader = LoraLoader(model)
        self.lora_loader = model.lora_loader

    def clone(self):
        other = type(self)(self.model)
        other.lora_patches = dict(self.lora_patches)
        return other

    def add_patches(self, *, filename, patches, strength_patch):
        self.lora_patches[(filename, strength_patch)] = {key: t * strength_patch for key, t in patches.items()}
