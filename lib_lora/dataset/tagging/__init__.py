"""Captions from tagger models. `lib_lora.dataset.tagging.run.Tagger` is where other taggers plug in."""
