"""A whole run inside the web UI, with the user at work beside it."""

from __future__ import annotations

import time

from lib_lora.workbench import Workbench
from tests.training.worlds import image_folder, small_config

WAIT = 400


def trained(bench: Workbench, folder, name: str, beside=lambda: None) -> bytes:
    """The file of a run during which ``beside`` happens after the first step."""
    job = bench.start_training(small_config(folder, name=name, epochs=3, fixed_loss_images=0))
    end = time.monotonic() + WAIT
    while bench.queue.view(job).phase != "training" and not bench.queue.view(job).ended:
        assert time.monotonic() < end
        time.sleep(0.005)
    beside()
    view = bench.queue.wait(job, WAIT)
    assert view.state == "done", view.traceback
    return bench.lora_path(name)


def test_generating_beside_a_training_disturbs_neither(webui, lora, tmp_path):
    from lib_lora.adapters.file import read_lora

    bench, folder = Workbench(webui.host), image_folder(tmp_path / "set")
    base, with_lora = webui.txt2img(), webui.txt2img(prompt=f"girl {lora}")
    before, reads = webui.flags(), len(webui.modules.sd_models.files_read)
    between = []

    def generate() -> None:
        between.extend([webui.txt2img(), webui.txt2img(prompt=f"girl {lora}"), webui.txt2img()])

    alone = read_lora(trained(bench, folder, "alone"))
    disturbed = read_lora(trained(bench, folder, "disturbed", generate))
    assert between == [base, with_lora, base]
    for key, params in alone.modules.items():
        assert all(tensor.equal(disturbed.modules[key][name]) for name, tensor in params.items())
    assert webui.txt2img() == base and webui.flags() == before
    assert len(webui.modules.sd_models.files_read) == reads
    import networks

    assert {"alone", "disturbed", "disturbed-000001"} <= set(networks.available_networks)
    assert webui.txt2img(prompt="girl <lora:alone:1>") == webui.txt2img(prompt="girl <lora:disturbed:1>")
