"""Prompts: those an entry names, or the captions in the box."""

from worker.models.conditions import read_lines
from worker.models.diffusers_entry import DiffusersEntry

CAPTIONS = (
    "a red bicycle leaning against a white brick wall",
    "a bowl of green apples on a wooden kitchen table",
    "a lighthouse on a rocky coast under heavy clouds",
    "two children flying a kite on a wide beach",
    "a close-up of dew drops on a spider web at sunrise",
    "a crowded street market seen from above",
    "an old man reading a newspaper on a park bench",
    "a grey cat asleep on a stack of books",
    "a snowy mountain range reflected in a still lake",
    "a watercolor painting of a small fishing harbor",
    "a pencil sketch of a pair of hands",
    "an empty train platform at night in the rain",
    "a plate of pasta with tomato sauce and basil",
    "a woman in a yellow raincoat walking a dog",
    "a field of sunflowers with a farmhouse in the distance",
    "the inside of a library with tall wooden shelves",
    "a potter shaping a clay vase on a wheel",
    "a macro photograph of a bee on a lavender flower",
    "a glass of water on a windowsill in soft morning light",
    "a narrow stone alley with potted plants",
    "an oil painting of a stormy sea with a sailing ship",
    "a child's drawing of a house and a smiling sun",
    "a vintage car parked in front of a diner",
    "a flock of birds above a city skyline at dusk",
    "a wooden bridge over a stream in an autumn forest",
    "a baker taking loaves of bread out of an oven",
    "a portrait of a young woman with short curly hair",
    "a portrait of a man with a grey beard and glasses",
    "a modern living room with a large window and plants",
    "a desert road that leads to distant red cliffs",
    "a cup of coffee beside an open notebook and a pen",
    "a green frog sitting on a lily pad",
    "a football match in a floodlit stadium",
    "a row of colorful houses along a canal",
    "a horse running through shallow water",
    "a black and white photograph of a spiral staircase",
    "an isometric illustration of a tiny office",
    "a diagram of the solar system on a dark background",
    "a hot air balloon over rolling hills",
    "a stack of pancakes with berries and syrup",
    "an astronaut floating above the earth",
    "a robot watering flowers in a greenhouse",
    "a castle on a hill surrounded by fog",
    "a bunch of grapes and a wedge of cheese, still life",
    "a tropical island seen from an airplane",
    "a violin lying on a sheet of music",
    "a group of friends sitting around a campfire",
    "a penguin standing on a piece of ice",
    "a workshop bench with tools hung on the wall",
    "a waterfall in a dense green jungle",
    "a street musician playing a guitar at a corner",
    "a blue ceramic teapot on a plain background",
    "a low-poly 3d render of a fox",
    "a woodcut print of a tree with bare branches",
    "a busy airport hall with large glass windows",
    "a surgeon's gloves and instruments on a steel tray",
    "a tractor plowing a field, seen from the side",
    "the night sky full of stars above a tent",
    "a marble statue in a museum gallery",
    "a bowl of ramen with a soft-boiled egg",
    "an owl perched on a fence post at dusk",
    "a chessboard in the middle of a game",
    "a rainbow over a wet asphalt road",
    "a pair of worn leather boots by a door",
)
"""Neutral captions for models of text to image and text to video: everyday subjects, several styles, no names."""


def prompts_of(entry: DiffusersEntry) -> list[str]:
    """The prompts of an entry, those in the box unless it names a file.

    Raises:
        ModelError: the file cannot be read, or is empty.
    """
    return list(CAPTIONS) if entry.prompts is None else read_lines(f"model {entry.id!r}", "prompts", entry.prompts)
