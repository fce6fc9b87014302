"""Where does a network get pretrained weights from? A file, a folder, or a hub: tensors only, never code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import Request, urlopen

import torch
from torch import Tensor, nn

from tlbench.types import TlbenchError

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".tar", ".ckpt")
PREFERRED = ("model.safetensors", "pytorch_model.bin", "model.pth")
# What training scripts put around the tensors; averaged weights before the last ones, as timm has it.
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "model_state_dict")
PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")  # what torch.compile and DataParallel put before the names
NAMED = 3  # tensors named in a message before the rest are counted
SECONDS = 10  # to wait for an answer of a server


def weights_file(path: Path, reference: str) -> Path:
    """The file itself, or the one file of weights in a folder; safetensors are preferred.

    Raises TlbenchError where there is none, or several of one kind.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise TlbenchError(
            f"{reference!r}: {str(path)!r} is neither a file nor a folder; write NAME@FILE for weights of your own, "
            "NAME@random for random ones, or NAME alone for the library's own"
        )
    for name in PREFERRED:
        if (path / name).is_file():
            return path / name
    for suffix in SUFFIXES:
        found = sorted(each for each in path.iterdir() if each.suffix == suffix)
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(each.name for each in found[:NAMED])
            raise TlbenchError(f"{reference!r}: {str(path)!r} holds {len(found)} files of weights ({names}); name one")
    raise TlbenchError(f"{reference!r}: no weights in the folder {str(path)!r}; it should hold model.safetensors")


def tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, without what training scripts wrap around them.

    Raises TlbenchError for a file that holds anything else; nothing in it is executed.
    """
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            held = load_file(file)
        else:
            held = torch.load(file, map_location=torch.empty(0).device, weights_only=True)
    except Exception as error:
        said = str(error).strip().partition("\n")[0]
        raise TlbenchError(
            f"{str(file)!r} cannot be read as weights: {type(error).__name__}: {said}; it should be safetensors or "
            "tensors saved by torch: a file that needs code to be opened is refused, so convert it to safetensors"
        ) from error
    state = _unwrapped(held)
    if not state:
        raise TlbenchError(f"{str(file)!r} holds no weights: {_contents(held)}; save a state dict as safetensors")
    return state


def load_exactly(network: nn.Module, state: dict[str, Tensor], *, source: str) -> None:
    """Loads a state dict that must hold each of the network's tensors and no other.

    Raises TlbenchError that names the first differences, with both shapes.
    """
    own = network.state_dict()
    wrong = [
        *(f"{k!r} is {_shape(state[k])} there and {_shape(own[k])} in the network" for k in _common(own, state)),
        *(f"{k!r} {_shape(own[k])} is not there" for k in own if k not in state),
        *(f"{k!r} {_shape(state[k])} is there and not in the network" for k in state if k not in own),
    ]
    if wrong:
        raise TlbenchError(
            f"{source} does not fit the network: {len(wrong)} tensors differ: {'; '.join(wrong[:NAMED])}"
            f"{'; ...' if len(wrong) > NAMED else ''}; is it of another variant, or of another picture size?"
        )
    network.load_state_dict(state)


def from_hub(reference: str, repository: str, files: Sequence[str]) -> Path:
    """The first of these files that a repository of the Hugging Face hub has: from its cache, else downloaded.

    Raises TlbenchError, within seconds, where there is no network or no such file.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError

    for name in files:
        cached = try_to_load_from_cache(repository, name)  # unlike a download of local files only, it asks no server
        if isinstance(cached, str):
            return Path(cached)
    for name in files:
        try:
            get_hf_file_metadata(hf_hub_url(repository, name), timeout=SECONDS)  # the download itself tries for 25 s
            return Path(hf_hub_download(repository, name, etag_timeout=SECONDS))
        except EntryNotFoundError:
            continue
        except Exception as error:  # the ways in which a network can be absent belong to several libraries
            raise TlbenchError(unreachable(reference, error)) from error
    raise TlbenchError(
        f"{reference!r}: the repository {repository!r} holds no safetensors ({', '.join(files)}), and pickled weights "
        f"are not downloaded; convert them to safetensors and write {reference}@FILE"
    )


def from_url(reference: str, url: str) -> Path:
    """The file at an address, from torch's cache, else downloaded and checked against the sha256 in its name.

    Raises TlbenchError, within seconds, where there is no network.
    """
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if file.is_file():
        return file
    try:
        with urlopen(Request(url, method="HEAD"), timeout=SECONDS):  # torch's own download waits for minutes
            file.parent.mkdir(parents=True, exist_ok=True)
        digest = torch.hub.HASH_REGEX.search(file.name)
        torch.hub.download_url_to_file(url, str(file), digest and digest.group(1), progress=False)
    except (OSError, RuntimeError) as error:
        raise TlbenchError(unreachable(reference, error)) from error
    return file


def unreachable(reference: str, error: BaseException) -> str:
    """The sentence for weights that cannot be downloaded, with the ways out."""
    said = str(error).strip().partition("\n")[0]
    return (
        f"{reference!r}: its pretrained weights are not on this machine and cannot be downloaded "
        f"({type(error).__name__}: {said[:200]}); run `tlbench fetch SUITE` where there is a network, or write "
        f"{reference}@FILE for weights of your own, {reference}@random for random ones"
    )


def _unwrapped(held: object) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(held, dict) and isinstance(held.get(wrapper), dict):
            held = held[wrapper]
    if not isinstance(held, dict) or not all(isinstance(value, Tensor) for value in held.values()):
        return {}
    return {_bare(str(name)): value for name, value in held.items()}


def _bare(name: str) -> str:
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _contents(held: object) -> str:
    if isinstance(held, dict):
        return f"a dict of {', '.join(map(repr, list(held)[:NAMED])) or 'nothing'}"
    return f"a {type(held).__name__}"


def _common(own: dict[str, Tensor], state: dict[str, Tensor]) -> list[str]:
    return [name for name in own if name in state and own[name].shape != state[name].shape]


def _shape(value: Tensor) -> list[int]:
    return list(value.shape)
