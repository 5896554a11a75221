"""Pictures that had no part in choosing any constant of fieldhead, as folders for `heads.py`, `fieldhead fewshot` and `fieldhead collect`.

    apt-get install tuxpaint-stamps-default fonts-noto-color-emoji     # stamps and emoji; digits come with scikit-learn
    python benches/versus/unseen.py FOLDER
    python benches/versus/heads.py --train FOLDER/stamps/train --test FOLDER/stamps/val

Three sets: handwritten digits, 8 x 8 pixels made larger (`digits`, ten classes of 60 and 60); Tux Paint's stamps, photos and drawings
from animals to money (`stamps`, nine classes of 18 to 66, halved); the pictures of a colour font by kind (`emoji`, eleven classes of 20 to
110, halved). What is not installed is left out.
"""

import argparse
import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits

STAMPS = pathlib.Path("/usr/share/tuxpaint/stamps")
FONT = pathlib.Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
# The one size that this font has, and pictures that hold it.
EMOJI_SIZE, EMOJI_SIDE = 109, 136
# Of a class, on each side.
MOST = 60
# Folders that hold 18 stamps or more.
KINDS_OF_STAMPS = {
    "birds": "animals/birds",
    "christmas": "seasonal/christmas",
    "flowers": "plants/flowers",
    "fruit": "food/fruit",
    "houses": "town/houses",
    "insects": "animals/insects",
    "mammals": "animals/mammals",
    "money": "symbols/money",
    "vegetables": "food/vegetables",
}
# Unicode's blocks by what they show, first and last character.
KINDS_OF_EMOJI = {
    "animals": [(0x1F400, 0x1F43F), (0x1F980, 0x1F9AE)],
    "buildings": [(0x1F3D4, 0x1F3DF), (0x1F3E0, 0x1F3F0)],
    "clocks": [(0x1F550, 0x1F567)],
    "clothes": [(0x1F451, 0x1F462), (0x1F97B, 0x1F97F), (0x1F9E2, 0x1F9E6)],
    "faces": [(0x1F600, 0x1F644), (0x1F910, 0x1F917), (0x1F920, 0x1F92F)],
    "food": [(0x1F32D, 0x1F32F), (0x1F345, 0x1F37F), (0x1F950, 0x1F96F)],
    "hands": [(0x1F442, 0x1F450), (0x1F590, 0x1F590), (0x1F595, 0x1F596), (0x1F918, 0x1F91F)],
    "plants": [(0x1F331, 0x1F344), (0x1F490, 0x1F490)],
    "sports": [(0x1F3A3, 0x1F3A3), (0x1F3B1, 0x1F3B3), (0x1F3BD, 0x1F3CC)],
    "traffic": [(0x1F681, 0x1F6A4), (0x1F6F4, 0x1F6FC)],
}
# ISO 3166.
FLAGS = """AD AE AF AG AL AM AR AT AU AZ BA BB BD BE BF BG BH BI BJ BN BO BR BS BT BW BY BZ CA CD CF CG CH CI CL CM CN CO CR CU CV CY CZ
    DE DJ DK DM DO DZ EC EE EG ER ES ET FI FJ""".split()


def digits():
    table = load_digits()
    for label in range(10):
        images = table.images[table.target == label]
        grey = (255 - 15 * images).clip(0, 255).astype(np.uint8)
        yield str(label), [Image.fromarray(image).resize((96, 96), Image.Resampling.BICUBIC) for image in grey]


def stamps():
    for label, folder in KINDS_OF_STAMPS.items():
        # Mirrored and flipped ones are the same picture again.
        files = [file for file in sorted((STAMPS / folder).rglob("*.png")) if "_mirror" not in file.name and "_flip" not in file.name]
        yield label, [on_white(file) for file in files]


def on_white(file: pathlib.Path) -> Image.Image:
    stamp = Image.open(file).convert("RGBA")
    stamp.thumbnail((300, 300))
    picture = Image.new("RGB", stamp.size, "white")
    picture.paste(stamp, mask=stamp.getchannel("A"))
    return picture


def emoji():
    font = ImageFont.truetype(str(FONT), EMOJI_SIZE)
    kinds = {label: [chr(code) for first, last in blocks for code in range(first, last + 1)] for label, blocks in KINDS_OF_EMOJI.items()}
    # A flag is a country's two letters, in characters of their own.
    kinds["flags"] = ["".join(chr(0x1F1E6 + ord(letter) - ord("A")) for letter in country) for country in FLAGS]
    for label, texts in sorted(kinds.items()):
        pictures = [drawn(font, text) for text in texts]
        # Characters that the font does not have leave the picture white.
        yield label, [picture for picture in pictures if picture.getextrema() != ((255, 255),) * 3]


def drawn(font, text: str) -> Image.Image:
    picture = Image.new("RGB", (EMOJI_SIDE, EMOJI_SIDE), "white")
    ImageDraw.Draw(picture).text((0, 4), text, font=font, embedded_color=True)
    return picture


def save(folder: pathlib.Path, label: str, pictures: list, random):
    """Half to learn from, half to judge."""
    order = random.permutation(len(pictures))[: 2 * MOST]
    half = len(order) // 2
    for side, some in (("train", order[:half]), ("val", order[half:])):
        path = folder / side / label
        path.mkdir(parents=True, exist_ok=True)
        for number in some:
            pictures[number].save(path / f"{number:04}.png")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    for make, needs in ((digits, None), (stamps, STAMPS), (emoji, FONT)):
        name = make.__name__
        if needs and not needs.exists():
            print(f"{name}: left out, there is no {needs}")
            continue
        random = np.random.default_rng(0)
        sizes = []
        for label, pictures in make():
            save(folder / name, label, pictures, random)
            sizes.append(min(len(pictures), 2 * MOST))
        print(f"{name}: {len(sizes)} classes of {min(sizes)} to {max(sizes)}, in {folder / name}")


if __name__ == "__main__":
    main()
