"""Names of the channels of brain-tumour MRI, whoever spells them."""

CHANNELS = ("FLAIR", "T1", "T1ce", "T2")  # BraTS's, in its order
SPELLINGS = {
    "flair": "FLAIR",
    "t2f": "FLAIR",
    "t1": "T1",
    "t1n": "T1",
    "t1w": "T1",
    "t1ce": "T1ce",
    "t1c": "T1ce",
    "t1gd": "T1ce",
    "t2": "T2",
    "t2w": "T2",
}


def canonical(name: str) -> str:
    """One name for a channel, whoever spells it: "t1gd" -> "T1ce"; other names in small letters."""
    tidy = name.strip().lower()
    return SPELLINGS.get(tidy, tidy)
