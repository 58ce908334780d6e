"""The profiles as data: every figure with its source, and the arithmetic of what fits on which GPU."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import ValidationError

from assistant.errors import RequestRefused
from assistant.serving import models
from assistant.serving.fit import GB, ROOM_GB, fewest, need, state_bytes, token_bytes
from assistant.serving.probes import PROBES
from assistant.serving.profiles import Architecture, Profile, Quantisation, bugs, profile, profiles
from tests.shell import Shell

GIB = 2**30
SOURCE = "https://example.org/paper"
SERVED = [one for one in profiles().values() if one.engine == "vllm"]


def test_the_profiles_that_are_promised() -> None:
    promised = {"nemotron-3.5-lightning", "nemotron-3-nano", "nemotron-3-super", "nemotron-3-ultra",
                "nemotron-nano-9b-v2", "qwen3-30b-a3b", "gpt-oss-120b", "embedded", "url"}  # fmt: skip
    assert promised <= profiles().keys()


@pytest.mark.parametrize("one", profiles().values(), ids=lambda one: one.name)
def test_a_profile_is_sound(one: Profile) -> None:
    assert set(one.bugs) <= bugs().keys()
    names = [quant.name for quant in one.quantisation]
    assert len(names) == len(set(names))
    assert one.title and one.purpose and one.structured.why


@pytest.mark.parametrize("one", SERVED, ids=lambda one: one.name)
def test_flags_agree_with_the_figures(one: Profile) -> None:
    """A cache of one byte is one that the flags ask for; nothing is said twice."""
    assert one.vllm is not None
    for quant in one.quantisation:
        flags = [*one.vllm.flags, *quant.flags]
        wanted = flags[flags.index("--kv-cache-dtype") + 1] if "--kv-cache-dtype" in flags else "auto"
        assert quant.kv_bytes == (1 if wanted == "fp8" else 2), quant.name
        names = [flag for flag in flags if flag.startswith("--")]
        assert len(names) == len(set(names))
        assert quant.weights_gb is None or quant.least_gb is None or quant.weights_gb < quant.least_gb * 1.25


def test_every_sign_of_a_bug_is_one_that_a_probe_reports() -> None:
    told = Path(PROBES[0].__code__.co_filename).read_text(encoding="utf-8")
    for name, bug in bugs().items():
        assert all(f'"{sign}"' in told for sign in bug.signs), name
        assert any(name in one.bugs for one in profiles().values()) or name == "schema-ignored", name


def test_data_that_is_not_sound_is_refused() -> None:
    with pytest.raises(ValidationError, match="source come together"):
        Quantisation(name="x", repository="a/b", weights_gb=3)
    with pytest.raises(ValidationError, match="extra"):
        Quantisation(name="x", repository="a/b", colour="red")  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="vLLM needs"):
        Profile(
            name="x", title="x", purpose="x", engine="vllm",
            structured={"mode": "schema", "why": "x", "source": SOURCE},
        )  # fmt: skip
    with pytest.raises(ValidationError, match="frozen"):
        profile("url").title = "other"


def test_unknown_names_list_the_valid_ones() -> None:
    with pytest.raises(RequestRefused, match="no profile 'nemotron'") as caught:
        profile("nemotron")
    assert "nemotron-3-nano" in caught.value.remedy
    with pytest.raises(RequestRefused, match="int3") as caught:
        profile("nemotron-3-nano").quant("int3")
    assert caught.value.remedy == "valid: fp8, bf16, nvfp4"


# ---- the arithmetic, against figures that others published


def architecture(name: str) -> Architecture:
    found = profile(name).architecture
    assert found is not None
    return found


def test_the_cache_that_vllm_logged() -> None:
    """Qwen3-235B-A22B on four H100: 8.11 GiB a GPU held 178,880 tokens (github.com/vllm-project/vllm/issues/21348)."""
    qwen = Architecture(attention_layers=94, kv_heads=4, head_dim=128, source=SOURCE)
    assert 8.11 * GIB / token_bytes(qwen, 2, tp=4) == pytest.approx(178_880, rel=0.015)


def test_a_hybrid_counts_its_attention_layers_alone() -> None:
    """500 MiB hold about 170,000 tokens of Nemotron 3 Nano in FP8 (theinvalid.me, `KV-cache math 14× wrong`)."""
    assert 500 * 2**20 / token_bytes(architecture("nemotron-3-nano"), 1) == pytest.approx(170_000, rel=0.01)


def test_supers_caches() -> None:
    """8,192 bytes a token in BF16 and 2 GiB at 262,144; 160 MiB of recurrent state (its published configuration)."""
    super_ = architecture("nemotron-3-super")
    assert token_bytes(super_, 2) == 8192
    assert token_bytes(super_, 2) * 262_144 == 2 * GIB
    recurrent, convolution = 160 * 2**20, 40 * 10_240 * 3 * 2
    assert state_bytes(super_, 2) == recurrent + convolution


def test_tensor_parallelism_divides_until_heads_are_copied() -> None:
    nano = architecture("nemotron-3-nano")
    assert token_bytes(nano, 1, tp=2) == token_bytes(nano, 1) // 2
    assert token_bytes(nano, 1, tp=8) == token_bytes(nano, 1, tp=2)
    assert state_bytes(nano, 1, tp=4) == state_bytes(nano, 1) // 4


def test_a_sliding_layer_keeps_its_window_alone() -> None:
    oss = architecture("gpt-oss-20b")
    assert token_bytes(oss, 2) == 2 * 12 * 8 * 64 * 2
    assert state_bytes(oss, 2) == token_bytes(oss, 2) * 128


def test_need_adds_up() -> None:
    nano = profile("nemotron-3-nano")
    one = need(nano, nano.quant("bf16"), tp=2, context=1000, users=3)
    assert one is not None and one.sure
    cache = 3 * (1000 * token_bytes(architecture(nano.name), 2, 2) + state_bytes(architecture(nano.name), 2, 2)) / GB
    assert one.total == pytest.approx(63.2 / 2 + cache + ROOM_GB)
    recipe = need(nano, nano.quant("fp8"), tp=1, context=1000, users=1)
    assert recipe is not None and recipe.weights == 35 and not recipe.sure
    assert need(nano, nano.quant("nvfp4"), tp=1, context=1000, users=1) is None
    measured = need(nano, nano.quant("nvfp4"), tp=1, context=1000, users=1, measured_gb=19)
    assert measured is not None and measured.weights == 19 and measured.sure


@pytest.mark.parametrize(
    ("name", "quant", "gb", "gpus"),
    [
        ("gpt-oss-120b", "mxfp4", 80, 1),  # its recipe: one A100 of 80 GB
        ("nemotron-3.5-lightning", "bf16", 80, 1),  # its recipe: one H100
        ("nemotron-3-super", "nvfp4", 80, 2),  # TensorRT-LLM's deployment guide
        ("nemotron-3-super", "nvfp4", 192, 1),
        ("nemotron-3-super", "bf16", 80, 4),
        ("nemotron-3-super", "bf16", 192, 2),
        ("nemotron-3-ultra", "nvfp4", 192, 4),  # NVIDIA: 4 × B200
        ("nemotron-3-ultra", "bf16", 192, 8),  # NVIDIA: 8 × B200
        ("nemotron-3-ultra", "bf16", 141, 0),  # SGLang's cookbook: sixteen H200
    ],
)
def test_what_fits_is_what_others_say_fits(name: str, quant: str, gb: int, gpus: int) -> None:
    one = profile(name)
    assert fewest(one, one.quant(quant), gpu_gb=gb, context=8192, users=1) == gpus


# ---- the table


def test_more_users_never_need_fewer_gpus() -> None:
    for row in models.table():
        for cells in row["gpus"].values():
            counts = [[count or 99 for count in cell.values()] for cell in cells.values() if isinstance(cell, dict)]
            for few, many in pairwise(count for count in counts if "unknown" not in count):
                assert all(one <= two for one, two in zip(few, many, strict=True)), row


def test_sask_models(tmp_path: Path) -> None:
    sask = Shell(tmp_path)
    rows = sask.json("models", "--json")["models"]
    ultra = next(row for row in rows if (row["profile"], row["quantisation"]) == ("nemotron-3-ultra", "nvfp4"))
    assert ultra["gpus"]["8k"]["1"] == {"80": 8, "141": 4, "192": 4}
    assert ultra["licence"]["source"].startswith("https://")
    nano = next(row for row in rows if (row["profile"], row["quantisation"]) == ("nemotron-3-nano", "nvfp4"))
    assert nano["weights_gb"] == "unknown" and nano["gpus"]["8k"]["1"]["80"] == "unknown"
    assert next(row for row in rows if row["profile"] == "gpt-oss-20b")["gpus"]["256k"]["1"] == "too long"
    text = sask("models").stdout
    assert "? (≥35" in text and "BFCL v4 53.76" in text
    one = sask("models", "nemotron-nano-9b-v2").stdout
    assert "nemotron_toolcall_parser_no_streaming.py" in one and "vllm #58228" in one
    assert "weights gb: unknown" in one
    assert json.loads(sask("models", "url", "--json").stdout)["engine"] == "url"
    wrong = sask("models", "gpt-5")
    assert wrong.returncode == 2 and "nemotron-3-super" in wrong.stderr
