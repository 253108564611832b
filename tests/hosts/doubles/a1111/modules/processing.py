"""txt2img: extra networks from the prompt, settings for one image, Euler steps with classifier-free guidance."""

import os
from contextlib import contextmanager

import networks
import torch
from txt2img_double import Processed, Processing, denoiser_of_a1111, euler, loras_of, pictures, run_scripts, settings_of

from modules import devices, paths, sd_hijack, sd_models, sd_unet, shared


class StableDiffusionProcessingTxt2Img(Processing):
    def encode(self, texts):
        return self.sd_model.cond_stage_model(texts)

    def conds_depend_on(self):
        return shared.opts.CLIP_stop_at_last_layers, shared.opts.sd_model_checkpoint


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
        activate_extra_networks(p)
        with devices.autocast():
            p.setup_conds()
        if not shared.cmd_opts.no_prompt_history:
            with open(os.path.join(paths.data_path, "params.txt"), "w", encoding="utf8") as file:
                file.write(create_infotext(p, p.prompts, p.all_seeds, p.all_subseeds, index=0))
        with devices.autocast():
            latents = sample(p)
        if shared.state.interrupted:
            return Processed([], [])
        images = pictures(p.sd_model.decode_first_stage, latents.float())
        shared.state.nextjob()
    texts = [create_infotext(p, p.prompts, p.all_seeds, p.all_subseeds, index=i) for i in range(len(images))]
    for image, text in zip(images, texts, strict=True):
        image.info["parameters"] = text
    return Processed(images, texts)


def activate_extra_networks(p):
    names, weights = loras_of(p)
    networks.load_networks(names, weights, weights)
    shared.loaded_hypernetworks.clear()
    shared.loaded_hypernetworks.extend(name for kind, name, _ in p.tags if kind == "hypernet")


def sample(p):
    def predict(x, t, cond):
        return p.sd_model.apply_model(x, t, {"c_crossattn": [cond]})

    return euler(p, p.sd_model.alphas_cumprod, denoiser_of_a1111(p, predict, shared.opts), shared.state)


def create_infotext(p, all_prompts, all_seeds, all_subseeds, comments=None, iteration=0, position_in_batch=0,
                    use_main_prompt=False, index=None, all_negative_prompts=None):  # fmt: skip
    negative = (all_negative_prompts or p.negative_prompts)[index]
    skip = getattr(p, "clip_skip", shared.opts.CLIP_stop_at_last_layers)
    settings = {
        "Steps": p.steps, "Sampler": p.sampler_name, "Schedule type": p.scheduler, "CFG scale": p.cfg_scale,
        "Seed": all_seeds[index], "Size": f"{p.width}x{p.height}",
        "Model": p.sd_model.sd_checkpoint_info.name_for_extra,
        "Clip skip": None if skip <= 1 else skip,
    }  # fmt: skip
    text = ", ".join(f"{k}: {v}" for k, v in settings.items() if v is not None)
    return "\n".join([all_prompts[index], *([f"Negative prompt: {negative}"] if negative else []), text])
