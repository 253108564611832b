"""What the built-in LoRA extensions of Forge and Neo share: patches in clones of the model's parts."""

from modules import sd_models

from lib_lora.adapters.file import read_lora, to_delta
from lib_lora.hosts.live_layers import live_layers
from lib_lora.models.unet import SD


def read(filename):
    return {key: to_delta(params).dense() for key, params in read_lora(filename).modules.items()}


def apply(files, unet_multipliers, te_multipliers, load):
    model = sd_models.model_data.get_sd_model()
    targets = [(str(file), u, t) for file, u, t in zip(files, unet_multipliers, te_multipliers, strict=True)]
    if model.current_lora_hash == str(targets):
        return
    model.current_lora_hash = str(targets)
    objects, original = model.forge_objects, model.forge_objects_original
    objects.unet, objects.clip = original.unet, original.clip
    for filename, unet_strength, te_strength in targets:
        patches = load(filename)
        objects.unet, objects.clip = objects.unet.clone(), objects.clip.clone()
        unet, te = keys(objects)
        for patcher, names_of, strength in (
            (objects.unet, unet, unet_strength),
            (objects.clip.patcher, te, te_strength),
        ):
            chosen = {names_of[key]: t for key, t in patches.items() if key in names_of}
            patcher.add_patches(filename=filename, patches=chosen, strength_patch=strength)
    model.forge_objects_after_applying_lora = objects.shallow_copy()


def keys(objects):
    """LoRA key -> parameter, for the U-Net's model and for the text encoders'."""
    unet, encoders = objects.unet.model, objects.clip.cond_stage_model
    found = []
    for model, layers in (
        (unet, live_layers("unet", unet.diffusion_model, SD.to_diffusers)),
        (encoders, live_layers("te", encoders.clip_l.transformer)),
    ):
        paths = {id(module): path for path, module in model.named_modules()}
        found.append({key: f"{paths[id(module)]}.weight" for key, module in layers.items()})
    return found
