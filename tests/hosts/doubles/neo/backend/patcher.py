"""A model with patches, after ComfyUI: no ``lora_loader``; an identity tells whether what is merged is still wanted."""

import uuid

import torch


class ModelPatcher:
    def __init__(self, model):
        self.model = model
        self.load_device = self.offload_device = torch.device("cpu")
        self.patches, self.patches_uuid = {}, uuid.uuid4()
        vars(model).setdefault("backup", {})
        vars(model).setdefault("current_weight_patches_uuid", None)

    def clone(self):
        other = type(self)(self.model)
        other.load_device = self.load_device
        other.patches, other.patches_uuid = dict(self.patches), self.patches_uuid
        return other

    def add_patches(self, *, filename, patches, strength_patch):
        for key, delta in patches.items():
            self.patches[key] = [*self.patches.get(key, []), delta * strength_patch]
        self.patches_uuid = uuid.uuid4()

    def partially_load(self):
        if self.model.current_weight_patches_uuid == self.patches_uuid:
            return
        for key, weight in self.model.backup.items():
            put(self.model, key, weight)
        self.model.backup.clear()
        for key, deltas in self.patches.items():
            weight = self.model.get_parameter(key)
            self.model.backup[key] = weight
            merged = sum((delta.reshape(weight.shape) for delta in deltas), weight.float())
            put(self.model, key, torch.nn.Parameter(merged.to(weight.dtype), requires_grad=False))
        self.model.current_weight_patches_uuid = self.patches_uuid


def put(model, key, weight):
    path, _, name = key.rpartition(".")
    model.get_submodule(path)._parameters[name] = weight
