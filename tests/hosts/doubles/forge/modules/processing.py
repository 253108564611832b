"""txt2img in inference mode: the model is loaded if need be, the LoRAs of the prompt patched in, and left there."""

import os

import networks
import torch
from backend import memory_management
from txt2img_double import Processed, Processing, denoiser_of_forge, euler, loras_of, pictures, run_scripts, settings_of

from modules import paths, sd_models, shared


class StableDiffusionProcessingTxt2Img(Processing):
    def encode(self, texts):
        return self.sd_model.get_learned_conditioning(texts)

    def conds_depend_on(self):
        return shared.opts.CLIP_stop_at_last_layers, id(self.sd_model)


def process_images(p):
    with settings_of(p, shared.opts) as own:
        for key, value in own.items():
            assert key != "sd_model_checkpoint", "would change what is chosen in the top bar"
            shared.opts.set(key, value, is_api=True, run_callbacks=False)
        p.sd_model, _ = sd_models.forge_model_reload()
        with torch.inference_mode():
            return process_images_inner(p)


def process_images_inner(p):
    model = p.sd_model
    model.forge_objects = model.forge_objects_original.shallow_copy()
    run_scripts(p)
    names, weights = loras_of(p)
    networks.load_networks(names, weights, weights)
    model.forge_objects = model.forge_objects_after_applying_lora.shallow_copy()
    model.set_clip_skip(int(shared.opts.CLIP_stop_at_last_layers))
    p.setup_conds()
    if not shared.cmd_opts.no_prompt_history:
        with open(os.path.join(paths.data_path, "params.txt"), "w", encoding="utf8") as file:
            file.write(p.prompts[0])
    latents = sample(p)
    if shared.state.interrupted:
        return Processed([], [])
    images = pictures(model.decode_first_stage, latents)
    return Processed(images, [""] * len(images))


def sample(p):
    patcher = p.sd_model.forge_objects.unet
    memory_management.load_models_gpu([patcher])
    unet = patcher.model.diffusion_model

    def predict(x, t, cond):
        return unet(x, t, context=cond, transformer_options={})

    denoise = denoiser_of_forge(p, predict, lambda: memory_management.chunks_at_once)
    return euler(p, patcher.model.predictor.alphas_cumprod, denoise, shared.state)


def create_infotext(p, all_prompts, all_seeds, all_subseeds, index=None, all_negative_prompts=None):
    settings = {"Steps": p.steps, "Sampler": p.sampler_name, "Schedule type": p.scheduler, "Seed": all_seeds[index]}
    lines = [all_prompts[index], f"Negative prompt: {all_negative_prompts[index]}"]
    return "\n".join([*lines, ", ".join(f"{k}: {v}" for k, v in settings.items())])
