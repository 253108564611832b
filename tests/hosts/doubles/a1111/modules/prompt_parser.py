"""Prompts, with what an engine wants to know besides."""

from __future__ import annotations

from collections.abc import Sequence


class SdConditioning(list):
    def __init__(self, prompts: Sequence[str], is_negative_prompt: bool = False):
        super().__init__(prompts)
        self.is_negative_prompt = is_negative_prompt
