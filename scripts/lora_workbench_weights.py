"""Entry point: an accordion in txt2img and img2img, and LoRA tags whose weight follows the sampling steps."""

from modules import scripts

import lib_lora  # noqa: F401 — as in lora_workbench.py
from lib_lora.start_up import uncollected


class LoraWorkbenchWeights(scripts.Script):
    """Registers and delegates; costs nothing until a tag or the accordion asks for it."""

    def title(self):
        return "LoRA Workbench: weights over the steps"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    @uncollected()
    def ui(self, is_img2img):
        from lib_lora.ui.guard import prompt_weights

        parts, self.infotext_fields = prompt_weights("img2img" if is_img2img else "txt2img")
        return parts

    def before_process_batch(self, p, lora="", weight="1", blocks="", **kwargs):
        if not lora and not any("<lora:" in prompt for prompt in p.prompts):
            return
        from lib_lora.ui.webui import apply_prompt_weights

        apply_prompt_weights(p, lora, weight, blocks)

    def process_batch(self, p, *args, **kwargs):
        names = getattr(p, "lora_workbench_names", None)
        if names:  # by now the web UI has written the hashes of its own LoRAs into the infotext
            from lib_lora.hosts.webui.lora_extension import add_hashes

            add_hashes(p, names)
