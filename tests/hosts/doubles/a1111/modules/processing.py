"""txt2img: extra networks from the prompt, settings for one image, Euler steps with classifier-free guidance."""

import os
from contextlib import contextmanager

import networks
import torch
from txt2img_double import TAG, Processed, Processing, encoded, euler, loras_of, picture, run_scripts, settings_of

from modules import devices, paths, sd_hijack, sd_models, sd_unet, shared


class StableDiffusionProcessingTxt2Img(Processing):
    pass


# whatever is passed, it is always the current one
StableDiffusionProcessingTxt2Img.sd_model = property(lambda self: shared.sd_model, lambda self, value: None)


def process_images(p):
    with settings_of(p, shared.opts), token_merging(p):
        if sd_models.checkpoint_aliases.get(p.override_settings.get("sd_model_checkpoint")) is None:
            p.override_settings.pop("sd_model_checkpoint", None)
            sd_models.reload_model_weights()
        for key, value in p.override_settings.items():
            shared.opts.set(key, value, is_api=True, run_callbacks=False)
            if key == "sd_model_checkpoint":
                sd_models.reload_model_weights()
        sd_models.apply_token_merging(p.sd_model, shared.opts.token_merging_ratio)
        return process_images_inner(p)


@contextmanager
def token_merging(p):
    """It ends with the image."""
    try:
        yield
    finally:
        sd_models.apply_token_merging(p.sd_model, 0)


def process_images_inner(p):
    sd_hijack.model_hijack.apply_circular(shared.opts.tiling if p.tiling is None else p.tiling)
    with torch.no_grad():
        sd_unet.apply_unet()
        sd_models.reload_model_weights()
        run_scripts(p)
        p.prompts = [TAG.sub("", p.prompt).strip()]
        activate_extra_networks(p)
        settings = (shared.opts.CLIP_stop_at_last_layers, shared.opts.sd_model_checkpoint)
        with devices.autocast():
            uncond, cond = (
                encoded(p.sd_model.cond_stage_model, text, cache, p, *settings)
                for text, cache in ((p.negative_prompt, p.cached_uc), (p.prompts[0], p.cached_c))
            )
        if not shared.cmd_opts.no_prompt_history:
            with open(os.path.join(paths.data_path, "params.txt"), "w", encoding="utf8") as file:
                file.write(create_infotext(p, p.prompts, p.all_seeds, p.all_subseeds, index=0))
        with devices.autocast():
            latent = sample(p, cond, uncond)
        if shared.state.interrupted:
            return Processed([], [])
        shared.state.nextjob()
        image = picture(p.sd_model.decode_first_stage(latent.float()))
    text = create_infotext(p, p.prompts, p.all_seeds, p.all_subseeds, index=0)
    image.info["parameters"] = text
    return Processed([image], [text])


def activate_extra_networks(p):
    names, weights = loras_of(p)
    networks.load_networks(names, weights, weights)
    shared.loaded_hypernetworks.clear()
    shared.loaded_hypernetworks.extend(name for kind, name, _ in TAG.findall(p.prompt) if kind == "hypernet")


def sample(p, cond, uncond):
    both = torch.cat([cond, uncond])

    def predict(x, t):
        return p.sd_model.apply_model(x, t, {"c_crossattn": [both]})

    return euler(p, p.sd_model.alphas_cumprod, predict, shared.state)


def create_infotext(p, all_prompts, all_seeds, all_subseeds, comments=None, iteration=0, position_in_batch=0,
                    use_main_prompt=False, index=None, all_negative_prompts=None):  # fmt: skip
    negative = (all_negative_prompts or [p.negative_prompt])[index]
    skip = getattr(p, "clip_skip", shared.opts.CLIP_stop_at_last_layers)
    settings = {
        "Steps": p.steps, "Sampler": p.sampler_name, "Schedule type": p.scheduler, "CFG scale": p.cfg_scale,
        "Seed": all_seeds[index], "Size": f"{p.width}x{p.height}",
        "Model": p.sd_model.sd_checkpoint_info.name_for_extra,
        "Clip skip": None if skip <= 1 else skip,
    }  # fmt: skip
    text = ", ".join(f"{k}: {v}" for k, v in settings.items() if v is not None)
    return "\n".join([all_prompts[index], *([f"Negative prompt: {negative}"] if negative else []), text])
