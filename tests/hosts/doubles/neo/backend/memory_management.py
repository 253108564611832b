"""Models are moved about and patched when they are loaded; where room is short, a module stays in main memory."""

import torch

current_loaded_models = []  # patchers
moves = []  # for the tests
chunks_at_once = 2  # as many go through the U-Net in one call
free = [True]  # whether whole models fit


@torch.inference_mode()
def move(module):
    moves.append(module)
    for p in module.parameters():
        p.data = p.data.clone()


def load_models_gpu(models, memory_required=0, force_patch_weights=False):
    for patcher in models:
        known = next((m for m in current_loaded_models if m.model is patcher.model), None)
        if known is None:
            move(patcher.model)
        if not free[0]:
            patcher.load_device = torch.device("meta")  # stands for a device that the weights are not on
        patcher.partially_load()
        current_loaded_models[:] = [patcher, *(m for m in current_loaded_models if m is not known)]


def load_model_gpu(model):
    load_models_gpu([model])


def unload_all_models():
    for patcher in current_loaded_models:
        move(patcher.model)
    current_loaded_models.clear()


def soft_empty_cache(force=False):
    pass
