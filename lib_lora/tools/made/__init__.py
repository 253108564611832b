"""Pictures that the model draws, with LoRAs or without, to be trained on: drawn, sifted, chosen, taken into a set."""
