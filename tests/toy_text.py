"""Tiny text networks of each family, saved to a folder as `save_pretrained` writes them; nothing comes from a hub."""

from __future__ import annotations

from pathlib import Path

import tokenizers
import torch
import transformers
from tokenizers import models, pre_tokenizers, processors, trainers

from tlbench import rng

SENTENCES = (
    "Return the sum of an array along the given axis.",
    "Draw a line between two points on the figure.",
    "Fit the model to the training data and predict the labels of new data.",
    "Read a table from a file, with a header in its first line.",
    "",
    "Sort values.",
    "The number of times that the function has been called since the program started, or zero where it never was.",
)
SHAPE = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
FAMILIES = {
    "bert": ("BertConfig", SHAPE | {"max_position_embeddings": 64}),
    "roberta": ("RobertaConfig", SHAPE | {"max_position_embeddings": 66, "pad_token_id": 1}),
    "distilbert": ("DistilBertConfig", {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48}),
    "mpnet": ("MPNetConfig", SHAPE | {"max_position_embeddings": 66}),
    "electra": ("ElectraConfig", SHAPE | {"embedding_size": 16, "max_position_embeddings": 64}),
    "modernbert": ("ModernBertConfig", SHAPE | {"local_attention": 8, "global_attn_every_n_layers": 2}),
}
ORDER = {  # of special tokens in the vocabulary; RoBERTa and MPNet count positions from the one of padding
    "roberta": ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"),
    "mpnet": ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"),
}


def tokenizer(family: str = "bert") -> transformers.PreTrainedTokenizerFast:
    """Trained on SENTENCES: byte-level BPE for RoBERTa and ModernBERT, WordPiece for the others."""
    order = ORDER.get(family, tuple(SPECIAL.values()))
    by_bytes = family in ("roberta", "modernbert")
    made = tokenizers.Tokenizer(models.BPE() if by_bytes else models.WordPiece(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel() if by_bytes else pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer if by_bytes else trainers.WordPieceTrainer
    alphabet = pre_tokenizers.ByteLevel.alphabet() if by_bytes else []
    made.train_from_iterator(
        SENTENCES, trainer(vocab_size=400, special_tokens=list(order), initial_alphabet=alphabet, show_progress=False)
    )
    ends = [(token, made.token_to_id(token)) for token in ("[SEP]", "[CLS]")]
    made.post_processor = processors.BertProcessing(*ends)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=64, **SPECIAL)


def config(family: str, vocabulary: int) -> transformers.PreTrainedConfig:
    name, values = FAMILIES[family]
    pad = ORDER[family].index("[PAD]") if family in ORDER else 0
    shared = {"vocab_size": vocabulary, "pad_token_id": pad}
    if family == "modernbert":
        shared |= {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    return getattr(transformers, name)(**{**values, **shared})


def saved(folder: Path, family: str = "bert", *, seed: int = 0) -> Path:
    """The folder, with a network of random weights and its tokenizer in it."""
    reader = tokenizer(family)
    with rng.ambient(seed):
        model = transformers.AutoModel.from_config(config(family, len(reader)))
        with torch.no_grad():
            for value in model.parameters():
                value.add_(0.1 * torch.randn_like(value))  # so that biases and norms matter too
    model.save_pretrained(folder)
    reader.save_pretrained(folder)
    return folder
