"""deepbooru's public face around a network that reads the mean colour."""

import torch


class Network(torch.nn.Module):
    tags = ("red_theme", "blue_theme", "rating:safe", "rating:explicit")

    def forward(self, x):
        red, _, blue = x.mean((1, 2)).unbind(1)
        return torch.stack([red, blue, torch.full_like(red, 0.3), torch.full_like(red, 0.1)], 1)


class DeepDanbooru:
    def __init__(self):
        self.model = None
        self.started = self.stopped = 0

    def start(self):
        self.model = self.model or Network()
        self.started += 1

    def stop(self):
        self.stopped += 1


model = DeepDanbooru()
