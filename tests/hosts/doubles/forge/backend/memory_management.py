"""Models are moved about and patched when they are loaded, in whichever mode the caller is."""

current_loaded_models = []  # patchers
moves = []  # for the tests
chunks_at_once = 2  # as many go through the U-Net in one call


def move(module):
    """Like ``module.to(device)``: the parameters stay, what they hold is new."""
    moves.append(module)
    for p in module.parameters():
        p.data = p.data.clone()


def load_models_gpu(models, memory_required=0, hard_memory_preservation=0):
    for patcher in models:
        if any(patcher is loaded for loaded in current_loaded_models):
            continue
        current_loaded_models[:] = [m for m in current_loaded_models if m.model is not patcher.model]
        move(patcher.model)
        patcher.lora_loader.refresh(patcher.lora_patches)
        current_loaded_models.insert(0, patcher)


def load_model_gpu(model):
    load_models_gpu([model])


def unload_all_models():
    for patcher in current_loaded_models:
        move(patcher.model)
    current_loaded_models.clear()


def soft_empty_cache(force=False):
    pass
