"""Import libraries that need torchvision where it has no compiled operators.

- A build of torchvision for another PyTorch does not know its own operators, and then cannot be imported: "operator torchvision::nms does not
  exist". Nothing here calls them, so declaring their schemas is enough.
- Done only where it is needed: an operator that is there stays what it is.
"""

import torch

SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_declared: list[torch.library.Library] = []  # a schema is gone with the library that declared it


def declare_missing_operators() -> None:
    """Declare the operators that torchvision looks for when it is imported, where its compiled part does not."""
    try:
        import torchvision  # noqa: F401
    except ImportError:  # whoever needs it will say so
        return
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name, schema in SCHEMAS.items():
            if not hasattr(torch.ops.torchvision, name):
                library.define(schema)  # type: ignore[no-untyped-call]
        _declared.append(library)
