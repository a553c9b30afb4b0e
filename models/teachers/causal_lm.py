"""Any causal language model that lies on disk, read by transformers (the extra "teachers"); nothing is downloaded.

Code that comes with a model is never run (`trust_remote_code=False`), and weights are read from safetensors only.
It reads token numbers drawn at random, unless it is given a text file and has a tokenizer beside its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ._settings import at_least
from ._teacher import Material, Reading, Teacher, Watched
from ._transformer import Progress
from .module import uniform, weights_digest

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
MOST_WORDS = 160  # of what a library says
EXTRA = "pip install 'neuroloom[teachers]'"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """path: a folder with config.json and *.safetensors. text: a file to read to it, "" for random tokens."""

    path: str
    text: str = ""
    context: int = 64

    def __post_init__(self) -> None:
        at_least(self, context=1)


def make(settings: Settings, *, cache: Path | None = None, progress: Progress | None = None) -> Teacher:
    """The model as a teacher: layers "block0", ... are its hidden states after each block.

    Raises ValueError where transformers is not installed, or no model lies there that can be read whole and is causal.
    """
    if settings.text and not Path(settings.text).is_file():
        raise ValueError(f"{settings.text}: no such file; a text to read is wanted")
    model = _opened(Path(settings.path))
    n_layers, n_symbols = int(model.config.num_hidden_layers), int(model.config.vocab_size)

    def forward(symbols_BT: Tensor) -> Watched:
        found = model(input_ids=symbols_BT, output_hidden_states=True, output_attentions=True, use_cache=False)
        return Watched(
            states={f"block{i}": state for i, state in enumerate(found.hidden_states[1:])},
            attention={f"block{i}": attention for i, attention in enumerate(found.get("attentions") or ())},
            log_prob_BTV=found.logits.float().log_softmax(dim=-1),
        )

    _refuse_foresight(settings.path, forward, n_symbols)
    return Teacher(
        name="causal_lm",
        n_inputs=n_symbols,
        n_outputs=n_symbols,
        layers=tuple(f"block{i}" for i in range(n_layers)),
        context=min(settings.context, int(getattr(model.config, "max_position_embeddings", settings.context))),
        digest=weights_digest(model),
        material=_of_text(settings, n_symbols) if settings.text else uniform(n_symbols),
        forward=forward,
        remarks={"model": Path(settings.path).name},
    )


def example() -> Teacher:
    """A GPT-2 of two blocks with random weights, saved into a temporary folder and read back."""
    import tempfile

    transformers = _transformers()
    config = transformers.GPT2Config(vocab_size=11, n_positions=12, n_embd=8, n_layer=2, n_head=2)
    with tempfile.TemporaryDirectory() as folder:
        transformers.GPT2LMHeadModel(config).save_pretrained(folder)
        return make(Settings(path=folder, context=12))


def _opened(path: Path) -> Any:
    transformers = _transformers()
    if not (path / "config.json").is_file() or not list(path.glob("*.safetensors")):
        raise ValueError(f"{path}: no causal language model; a folder with config.json and *.safetensors is wanted")
    try:
        with _quiet(transformers):
            model, told = transformers.AutoModelForCausalLM.from_pretrained(
                path, local_files_only=True, trust_remote_code=False, use_safetensors=True,
                attn_implementation="eager", output_loading_info=True,
            )  # fmt: skip
    except Exception as error:  # of what a reader of files by anybody may raise
        first = str(error).splitlines()[0][:MOST_WORDS]
        raise ValueError(f"{path}: cannot be read as a causal language model ({first})") from error
    if missing := sorted(told["missing_keys"]):
        raise ValueError(f"{path}: no weights for {missing[0]} and {len(missing) - 1} others; all of them are wanted")
    return model.eval()


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No bars and no hints of transformers: what is wrong is said here."""
    told = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(told)
        transformers.logging.enable_progress_bar()


@torch.no_grad()
def _refuse_foresight(path: str, forward: Callable[[Tensor], Watched], n_symbols: int) -> None:
    """Raises ValueError for a model whose answers change with symbols that come later."""
    one = torch.zeros(1, 3, dtype=torch.long)
    other = one.clone()
    other[0, -1] = n_symbols - 1
    before, after = (forward(symbols).log_prob_BTV[:, :-1] for symbols in (one, other))
    if not torch.allclose(before, after, atol=1e-5):
        raise ValueError(f"{path}: its answers depend on what comes later; a causal language model is wanted")


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ValueError(f"the teacher causal_lm needs transformers, which is not installed: {EXTRA}") from error
    return transformers


def _of_text(settings: Settings, n_symbols: int) -> Material:
    transformers, folder = _transformers(), Path(settings.path)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise ValueError(f"{folder}: no tokenizer beside the weights, which reading {settings.text} takes")
    with _quiet(transformers):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    text = Path(settings.text).read_text(encoding="utf-8")
    tokens = torch.tensor(tokenizer(text, verbose=False)["input_ids"], dtype=torch.long)
    if len(tokens) and int(tokens.max()) >= n_symbols:
        raise ValueError(f"{folder}: its tokenizer has token {int(tokens.max())}, its weights {n_symbols} tokens")

    def material(n: int, length: int, generator: torch.Generator) -> Reading:
        pieces = tokens[: len(tokens) // length * length].view(-1, length)
        if n > len(pieces):
            raise ValueError(f"{settings.text}: {len(pieces)} pieces of {length} tokens; {n} were asked for")
        return Reading(symbols_BT=pieces[torch.randperm(len(pieces), generator=generator)[:n]])

    return material
