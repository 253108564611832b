def resize_image(resize_mode, im, width, height, upscaler_name=None):
    assert resize_mode == 2
    return im.resize((width, height))
