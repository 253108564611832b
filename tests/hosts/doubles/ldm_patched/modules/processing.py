"""txt2img in inference mode, of parts in ``forge_objects`` that the memory manager moves and patches."""

import torch
from ldm_patched.modules import model_management
from txt2img_double import Processed, Processing, denoiser_of_forge, euler, pictures, run_scripts, settings_of

from modules import sd_models, shared


class StableDiffusionProcessingTxt2Img(Processing):
    sd_model = property(lambda self: shared.sd_model, lambda self, value: None)

    def __init__(self, sd_model=None, **settings):
        assert "scheduler" not in settings, "unexpected keyword argument"
        super().__init__(sd_model=sd_model, **settings)

    def encode(self, texts):
        return self.sd_model.cond_stage_model(texts)

    def conds_depend_on(self):
        return (shared.opts.CLIP_stop_at_last_layers,)


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
    objects = p.sd_model.forge_objects
    model_management.load_model_gpu(objects.clip.patcher)
    p.setup_conds()
    model_management.load_model_gpu(objects.unet)
    unet = objects.unet.model.diffusion_model
    denoise = denoiser_of_forge(p, lambda x, t, cond: unet(x, t, context=cond), lambda: 2)
    latents = euler(p, p.sd_model.alphas_cumprod, denoise, shared.state)
    if shared.state.interrupted:
        return Processed([], [])
    images = pictures(p.sd_model.decode_first_stage, latents)
    return Processed(images, [""] * len(images))


def create_infotext(p, all_prompts, all_seeds, all_subseeds, index=None, all_negative_prompts=None):
    return f"{all_prompts[index]}\nSteps: {p.steps}, Sampler: {p.sampler_name}, Seed: {all_seeds[index]}"
