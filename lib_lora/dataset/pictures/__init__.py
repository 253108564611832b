"""New pictures made from those of the set: mirrored, cropped, cut from sheets, joined. Originals stay as they are."""
