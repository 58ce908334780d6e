"""The tokenizer and the chat template out of the GGUF file, so that training reads exactly what the server reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Tokens:
    """Byte-level BPE with single digits (``tokenizer.ggml.pre = smollm``) and the file's own chat template."""

    def __init__(self, path: Path) -> None:
        from gguf import GGUFReader
        from jinja2.sandbox import ImmutableSandboxedEnvironment
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

        reader = GGUFReader(path)

        def field(name: str) -> Any:
            found = reader.get_field(f"tokenizer.{name}")
            if found is None:
                raise ValueError(f"{path}: no tokenizer.{name} in this GGUF file")
            return found.contents()

        if field("ggml.pre") != "smollm":
            raise ValueError(f"{path}: tokenizer {field('ggml.pre')!r}; only 'smollm' is known here")
        pieces = field("ggml.tokens")
        merges = [tuple(merge.split(" ", 1)) for merge in field("ggml.merges")]
        vocabulary = {piece: number for number, piece in enumerate(pieces)}
        self._tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
        self._tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        self._tokenizer.decoder = decoders.ByteLevel()
        control = [piece for piece, kind in zip(pieces, field("ggml.token_type"), strict=True) if kind == 3]
        self._tokenizer.add_special_tokens([AddedToken(piece, normalized=False) for piece in control])
        self.end: int = field("ggml.eos_token_id")
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        self._template = environment.from_string(field("chat_template"))

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))

    def render(self, messages: Sequence[dict[str, str]]) -> str:
        """The prompt text of a chat, up to and with the start of the answer."""
        return self._template.render(messages=messages, add_generation_prompt=True)
