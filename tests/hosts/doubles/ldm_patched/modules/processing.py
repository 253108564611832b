"""txt2img in inference mode, of parts in ``forge_objects`` that the memory manager moves and patches."""

import torch
from ldm_patched.modules import model_management
from txt2img_double import TAG, Processed, Processing, encoded, euler, picture, run_scripts, settings_of

from modules import sd_models, shared


class StableDiffusionProcessingTxt2Img(Processing):
    sd_model = property(lambda self: shared.sd_model, lambda self, value: None)

    def __init__(self, sd_model=None, **settings):
        assert "scheduler" not in settings, "unexpected keyword argument"
        super().__init__(sd_model=sd_model, **settings)


def process_images(p):
    with settings_of(p, shared.opts) as own:
        for key, value in own.items():
            shared.opts.set(key, value, is_api=True, run_callbacks=False)
            if key == "sd_model_checkpoint":
                sd_models.reload_model_weights(info=sd_models.checkpoints_list[value])
        with torch.inference_mode():
            return process_images_inner(p)


def process_images_inner(p):
    run_scripts(p)
    assert not [script for script in p.scripts.alwayson_scripts if script.name]  # reForge looks in any case
    prompts = [TAG.sub("", p.prompt).strip(), p.negative_prompt]
    objects = p.sd_model.forge_objects
    model_management.load_model_gpu(objects.clip.patcher)
    cond, uncond = (
        encoded(p.sd_model.cond_stage_model, text, cache, p, shared.opts.CLIP_stop_at_last_layers)
        for text, cache in zip(prompts, (p.cached_c, p.cached_uc), strict=True)
    )
    model_management.load_model_gpu(objects.unet)
    unet, both = objects.unet.model.diffusion_model, torch.cat([cond, uncond])
    latent = euler(p, p.sd_model.alphas_cumprod, lambda x, t: unet(x, t, context=both), shared.state)
    if shared.state.interrupted:
        return Processed([], [])
    return Processed([picture(p.sd_model.decode_first_stage(latent))], [""])


def create_infotext(p, all_prompts, all_seeds, all_subseeds, index=None, all_negative_prompts=None):
    return f"{all_prompts[index]}\nSteps: {p.steps}, Sampler: {p.sampler_name}, Seed: {all_seeds[index]}"
