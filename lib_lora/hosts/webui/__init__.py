"""What all web UIs share that have A1111's ``modules``: itself, Forge, reForge and Forge-Classic."""
