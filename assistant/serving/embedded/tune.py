"""Train the embedded model's adapter from the repository's examples; see the model card beside the adapter.

python -m assistant.serving.embedded.tune [--out DIR] [--data FILE | --examples N] [--tokens N] [--minutes M]
                                          [--start DIR | --resume]
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.errors import ServingError
from assistant.serving.embedded import adapter as adapters
from assistant.serving.embedded.weights import SHA256, sha256, weights

if TYPE_CHECKING:
    from assistant.serving.embedded.dataset import Sample
    from assistant.serving.embedded.train import Recipe, State, Trainer

CHECKPOINT = "checkpoint.pt"


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        tune(options)
    except ServingError as error:
        print(f"tune: {error.message}; {error.remedy}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"tune: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        print(f"tune: {error}; training needs `pip install 'slurm-assistant[tune]'`", file=sys.stderr)
        return 1
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m assistant.serving.embedded.tune", description=__doc__)
    parser.add_argument("--out", type=Path, default=adapters.bundled(), help="where the adapter goes (the package)")
    parser.add_argument("--data", type=Path, help="a file of generated examples; without it they are made now")
    parser.add_argument("--examples", type=int, default=12_000, help="how many examples to make (%(default)s)")
    parser.add_argument("--tokens", type=int, default=1_500_000, help="training tokens, prompts included (%(default)s)")
    parser.add_argument("--minutes", type=float, default=0.0, help="end by then, the schedule follows (no limit)")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=16, help="examples a step (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    parser.add_argument("--start", type=Path, metavar="DIR", help="begin from the adapter there, not from nothing")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    return parser.parse_args(arguments)


def tune(options: argparse.Namespace) -> None:
    """Data, weights, training, export. An interrupt (Ctrl-C, SIGTERM) ends the training and still exports."""
    import torch

    from assistant.serving.embedded.dataset import digest
    from assistant.serving.embedded.llama import load
    from assistant.serving.embedded.train import Recipe, Trainer

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    # TF32 keeps the merged low-rank update, which bfloat16 would round away
    torch.set_float32_matmul_precision("high")
    base = weights(progress=_say)
    found = _samples(options, base)
    lengths = sum(len(sample.tokens) for sample in found)
    _say(f"{len(found)} examples, {lengths} tokens, {lengths / len(found):.0f} each; {device}")
    recipe = Recipe(**{key: getattr(options, key) for key in ("rank", "lr", "batch", "tokens", "minutes", "seed")})
    trainer = Trainer(load(base, device), found, recipe)
    if options.start:
        adapters.load(options.start, trainer.adapter)
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint = options.out / CHECKPOINT
    if options.resume and checkpoint.is_file():
        trainer.restore(checkpoint)
    try:
        trainer.run(checkpoint, Progress(trainer.state.seen))
    except KeyboardInterrupt:
        _say("\ninterrupted: the adapter is exported as it is; --resume goes on")
        trainer.save(checkpoint)
    else:
        checkpoint.unlink(missing_ok=True)
    _export(options, trainer, recipe, digest(found))


def _samples(options: argparse.Namespace, base: Path) -> list[Sample]:
    from assistant.serving.embedded.dataset import read, samples
    from assistant.serving.embedded.generate import generate
    from assistant.serving.embedded.tokens import Tokens

    if options.data:
        examples = list(read(options.data))
    else:
        _say(f"making {options.examples} examples")
        examples = generate(options.examples, options.seed)
    found = samples(examples, Tokens(base))
    if not found:
        raise ValueError(f"{options.data or 'the generator'}: no examples to train on")
    return found


def _export(options: argparse.Namespace, trainer: Trainer, recipe: Recipe, data: str) -> None:
    state = trainer.state
    story: dict[str, Any] = asdict(recipe) | {
        "alpha": trainer.adapter.alpha,
        "examples": len(trainer.samples),
        "examples_seen": state.examples,
        "tokens_seen": state.seen,
        "steps": state.step,
        "optimizer": "AdamW 0.9/0.99, clip 1.0, cosine",
    }
    if options.start:
        story["started_from"] = sha256(options.start / adapters.FILE)
    made = {"base_sha256": SHA256, "tools_sha256": adapters.tools_hash(), "data_sha256": data, "recipe": story}
    manifest = adapters.write(options.out, trainer.adapter, made)
    path, sha = options.out / adapters.FILE, manifest.adapter_sha256[:12]
    _say(f"\n{path}: {sha}, loss {state.loss:.4f}, {state.seconds / 60:.1f} min")


class Progress:
    """One line that is written over on a terminal, and a line every half minute elsewhere."""

    def __init__(self, seen: int) -> None:
        self._first, self._seen, self._last = time.monotonic(), seen, 0.0

    def __call__(self, state: State, done: float) -> None:
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if now - self._last < (1 if terminal else 30) and done < 1:
            return
        self._last = now
        speed = (state.seen - self._seen) / max(now - self._first, 1e-9)
        left = state.seconds / max(done, 1e-9) * (1 - done)
        line = (
            f"{done:6.1%}  step {state.step}  {state.seen} tokens  {speed:.0f} tokens/s  "
            f"loss {state.loss:.4f}  {left / 60:.1f} min left"
        )
        print(line, end="\r" if terminal else "\n", file=sys.stderr, flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
