"""What a button of ours puts into the web UI's prompt."""

from __future__ import annotations

from pathlib import Path

from lib_lora.ui import html
from tests.browser.window import TIMEOUT

SCRIPT = Path(__file__).parents[2] / "javascript" / "lora_workbench.js"
FIELDS = """<div id="txt2img_prompt"><textarea></textarea></div>
<div id="lw_blocks_prompt"><input value=" 1girl, hat "></div><div id="lw_page">{buttons}</div>"""


def test_a_tag_goes_behind_the_prompt_of_the_preview(context):
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    buttons = html.send_button("<lora:mira:1>", behind="lw_blocks_prompt") + html.send_button("alone <lora:b:1>")
    page.set_content(FIELDS.format(buttons=buttons))
    page.add_script_tag(path=str(SCRIPT))
    found = []
    for button in page.query_selector_all(".lw-send"):
        button.click()
        found.append(page.input_value("#txt2img_prompt textarea"))
    page.close()
    assert found == ["1girl, hat <lora:mira:1>", "alone <lora:b:1>"]
