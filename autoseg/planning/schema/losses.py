"""The names of losses: terms joined by "_", each at most once, such as "dice_ce"."""

from autoseg.planning.schema.faults import nearest

LOSS_TERMS = ("dice", "ce", "bce", "focal", "tversky")
_TERM = f"({'|'.join(LOSS_TERMS)})"
LOSS_PATTERN = f"^(?:{_TERM}(?!.*_\\1(?:_|$))(?:_(?!$)|$))+$"  # for the JSON Schema


def loss_fault(text: str) -> str | None:
    """What is wrong with the name of a loss, with the nearest valid one where there is one; None where nothing is."""
    terms = text.split("_")
    if terms and set(terms) <= set(LOSS_TERMS) and len(set(terms)) == len(terms):
        return None
    known = [close for term in terms if (close := nearest(term, LOSS_TERMS))]
    suggestion = f"; nearest valid: '{'_'.join(dict.fromkeys(known))}'" if known else ""
    return f"must be made of {', '.join(LOSS_TERMS[:-1])} and {LOSS_TERMS[-1]}, joined by _, each at most once{suggestion}"
