"""Let a network speak: `runs/NAME/networks/*.safetensors`, made by the studies `convert` and `distill`.

What it says is written as letters, and judged by what is known of its teacher's language: of a hidden-Markov language
how likely its speech is under the language itself, beside the language's own; of text how many of its words are words
of the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase
from typing import Any

import torch
from torch import Tensor

from neuroloom.models.speaker import Speaker, read_speaker, spoken
from neuroloom.models.student_speaker import StudentSpeaker
from neuroloom.models.teachers import characters, hidden_markov
from neuroloom.models.teachers.hidden_markov import Language
from neuroloom.pipeline.documents import document_of
from neuroloom.pipeline.runs.run_files import CONFIG
from neuroloom.pipeline.store import Store, StoreError
from neuroloom.pipeline.studies._cells import NETWORKS, REQUEST

SPEAKING = ("convert", "distill")
LETTERS = ascii_lowercase + ascii_uppercase
SLIP = 1e-6  # chance of a step that no topic has
JUDGED = 64  # sequences of its own that a network is judged by
REMARKED = ("conversion", "arm", "n", "k", "snr_db", "preset", "k_over_d", "kl")
WORD = re.compile(r"[a-z]{3,}")


Network = Speaker | StudentSpeaker


@dataclass(frozen=True, kw_only=True)
class Speech:
    """network: its file's name. prompt, said: as letters. remarks: what the network is and how its speech is judged."""

    network: str
    prompt: str
    said: str
    remarks: Mapping[str, Any]


def networks(run: str, store: Store) -> list[Path]:
    """A run's networks. Raises StoreError where there are none, saying why."""
    folder = store.run_folder(run)
    found = sorted((folder / NETWORKS).glob("*.safetensors"))
    if found:
        return found
    study = document_of(folder / REQUEST).get("study")
    if study in SPEAKING:
        raise StoreError(f"{run}: a study that has kept no network yet; one that reads symbols keeps those of seed 0")
    if study:
        raise StoreError(f"{run}: a study of {study!r} keeps no networks; those of {' and '.join(SPEAKING)} do")
    if (folder / CONFIG).is_file():
        raise StoreError(
            f"{run}: a trained network, which answers what it is shown bin by bin and does not read its own words; "
            f"`neuroloom predict {run} SESSION` says what it answers"
        )
    raise StoreError(f"{folder}: no network that speaks; `neuroloom study convert` or `distill` makes some")


def generate(
    run: str,
    store: Store,
    *,
    network: str = "",
    prompt: str = "",
    length: int = 200,
    temperature: float = 1.0,
    seed: int = 0,
) -> Speech:
    """Let a network of a run speak: the one whose file's name begins so, or the one that is nearest to its teacher.

    Raises StoreError where there is none of that name, ValueError for a prompt it cannot read or answers that are no
    speech.
    """
    path, speaker, told = _chosen(run, store, network)
    alphabet = alphabet_of(told["teacher"], speaker)
    generator = torch.Generator().manual_seed(seed)
    shown = prompt or alphabet[int(torch.randint(len(alphabet), (1,), generator=generator))]
    symbols = _read(shown, alphabet)
    said = spoken(speaker, symbols, length, generator, temperature)
    text = "".join(alphabet[int(symbol)] for symbol in said)
    remarks = {name: told[name] for name in REMARKED if told.get(name) is not None}
    remarks |= _judged(told, speaker, text, store.derived / "teachers", generator)
    return Speech(network=path.name, prompt=shown, said=text, remarks=remarks)


def alphabet_of(teacher: Mapping[str, Any], speaker: Network) -> str:
    """The letters of a teacher's symbols. Raises ValueError for one whose answers are no speech."""
    if teacher["kind"] == "characters":
        return characters.ALPHABET
    n = speaker.shape.n_inputs
    if teacher["kind"] not in ("hidden_markov", "state_space") or n > len(LETTERS):
        raise ValueError(f"what learned from {teacher['kind']!r} answers what it is shown; it does not speak")
    return LETTERS[:n]


def _chosen(run: str, store: Store, name: str) -> tuple[Path, Network, dict[str, Any]]:
    there = networks(run, store)
    asked = [path for path in there if path.name.startswith(name)]
    if not asked:
        raise StoreError(f"{run}: no network {name!r}; there are: {', '.join(path.stem for path in there)}")
    read = [(path, *read_speaker(path)) for path in asked]
    speaking = [one for one in read if one[2]["teacher"]["kind"] != "toggle"] or read
    return min(speaking, key=lambda one: float(one[2]["kl"]))


def _read(prompt: str, alphabet: str) -> Tensor:
    unknown = sorted(set(prompt) - set(alphabet))
    if unknown:
        raise ValueError(f"the prompt has {unknown[0]!r}; the network reads {alphabet!r}")
    return torch.tensor([alphabet.index(letter) for letter in prompt])


def _judged(
    told: Mapping[str, Any], speaker: Network, text: str, cache: Path, generator: torch.Generator
) -> dict[str, Any]:
    teacher = told["teacher"]
    if teacher["kind"] == "characters":
        words = WORD.findall(text)[1:-1]  # the ends may be cut
        known = known_words(characters.corpus(cache))
        return {"words": len(words), "words_of_the_text": sum(word in known for word in words)}
    language = hidden_markov.language_told(teacher)
    length = int(told["length"])
    first = torch.randint(speaker.shape.n_inputs, (JUDGED, 1), generator=generator)
    own = torch.stack([torch.cat([f, spoken(speaker, f, length, generator)]) for f in first])
    nats, share = in_language(language, own)
    return {
        "nats_per_symbol_in_the_language": nats,
        "nats_of_the_language_itself": language.floor_nats(JUDGED, length, generator),
        "share_of_steps_the_language_has": share,
    }


def in_language(language: Language, said_BT: Tensor) -> tuple[float, float]:
    """Nats per symbol of speech under the language, over steps that some topic has, and the share of those.

    Beliefs about the topic go on over a step that no topic has, as if it were a slip of the tongue.
    """
    read, now = said_BT[:, :-1], said_BT[:, 1:]
    tables = language.next_ZVV
    slips = replace(language, next_ZVV=(1 - SLIP) * tables + SLIP / tables.shape[-1])
    log_prob = slips.next_log_prob(read, slips.posterior(read)).gather(-1, now[..., None])[..., 0]
    possible = tables[:, read, now].sum(dim=0) > 0
    return -float(log_prob[possible].mean()), float(possible.double().mean())


def known_words(text: Tensor) -> frozenset[str]:
    """All words of three letters and more of a text in places of the alphabet."""
    letters = bytes(characters.ALPHABET, "ascii")
    return frozenset(WORD.findall(bytes(letters[i] for i in text.tolist()).decode("ascii")))
