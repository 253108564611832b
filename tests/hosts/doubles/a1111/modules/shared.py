"""Settings, state, and ``sd_model`` as a property that loads the model at first use."""

import sys
from types import ModuleType, SimpleNamespace

cmd_opts = SimpleNamespace(
    lora_dir="", ckpt_dir=None, no_prompt_history=False, freeze_settings=False, hide_ui_dir_config=False,
    medvram=False, medvram_sdxl=False, lowvram=False,
)  # fmt: skip
loaded_hypernetworks = []

DEFAULTS = {
    "sd_model_checkpoint": None,
    "CLIP_stop_at_last_layers": 1,
    "sd_unet": "None",
    "token_merging_ratio": 0.0,
    "tiling": False,
    "fp8_storage": "Disable",
    "batch_cond_uncond": True,
    "skip_early_cond": 0.0,
}


class Options:
    def __init__(self):
        object.__setattr__(self, "data", {})

    def __getattr__(self, key):
        if key in self.data or key in DEFAULTS:
            return self.data.get(key, DEFAULTS.get(key))
        raise AttributeError(key)

    def __setattr__(self, key, value):
        assert not cmd_opts.freeze_settings, "changing settings is disabled"
        self.data[key] = value

    def set(self, key, value, is_api=False, run_callbacks=True):
        if self.data.get(key) == value:
            return False
        setattr(self, key, value)
        if run_callbacks and key == "sd_model_checkpoint":
            from modules import call_queue, sd_models

            call_queue.wrap_queued_call(sd_models.reload_model_weights)()
        return True

    def add_option(self, key, info):
        DEFAULTS[key] = info.default

    def get_default(self, key):
        return DEFAULTS.get(key)


class OptionInfo:
    def __init__(self, default=None, label="", component=None, component_args=None, section=None):
        self.default, self.label, self.component_args, self.section = default, label, component_args, section

    def info(self, text):
        return self

    needs_restart = needs_reload_ui = lambda self: self


class State:
    interrupted = skipped = stopping_generation = False
    job = ""
    job_no = job_count = sampling_step = 0

    def begin(self, job="(unknown)"):
        self.interrupted = self.skipped = self.stopping_generation = False
        self.job, self.job_no, self.job_count, self.sampling_step = job, 0, -1, 0

    def end(self):
        self.job, self.job_count = "", 0

    def nextjob(self):
        self.job_no += 1
        self.sampling_step = 0

    def interrupt(self):
        self.interrupted = True


class Scaler:
    """Sides in steps of 8 like all upscalers there."""

    def __init__(self):
        self.calls = 0

    def upscale(self, img, scale, selected_model=None):
        self.calls += 1
        return img.resize((int(img.width * scale) // 8 * 8, int(img.height * scale) // 8 * 8))


sd_upscalers = [
    SimpleNamespace(name=name, scaler=Scaler(), data_path=None, scale=4) for name in ("None", "Lanczos", "Double")
]
opts = Options()
state = State()


class Shared(ModuleType):
    @property
    def sd_model(self):
        from modules import sd_models

        return sd_models.model_data.get_sd_model()


sys.modules[__name__].__class__ = Shared
