"""The trade-off table: every profile and quantisation, its licence, its size, and the GPUs that hold it."""

from __future__ import annotations

from typing import Any

from assistant.serving.fit import fewest
from assistant.serving.profiles import Profile, Quantisation, bugs, profile, profiles

CONTEXTS = {"8k": 8_192, "32k": 32_768, "256k": 262_144}
USERS = (1, 16, 64)
GPUS_GB = (80, 141, 192)
"""H100 and A100; H200; B200."""
UNKNOWN = "unknown"


def table() -> list[dict[str, Any]]:
    """One row a quantisation: facts with their sources, and ``gpus[context][users][GB]``: the fewest GPUs.

    A number of GPUs is 0 where eight do not hold it, ``"too long"`` where the model cannot read so much, and
    ``"unknown"`` where the size of the weights is not published.
    """
    served = (profile for profile in profiles().values() if profile.engine != "url")
    return [_row(profile, quant) for profile in served for quant in profile.quantisation]


def _row(profile: Profile, quant: Quantisation) -> dict[str, Any]:
    return {
        "profile": profile.name,
        "quantisation": quant.name,
        "title": profile.title,
        "repository": quant.repository,
        "revision": quant.revision or UNKNOWN,
        "licence": profile.licence.model_dump() if profile.licence else UNKNOWN,
        "context": profile.context.most if profile.context else UNKNOWN,
        "weights_gb": quant.weights_gb or UNKNOWN,
        "weights_source": quant.weights_source,
        "least_gb": quant.least_gb or UNKNOWN,
        "least_source": quant.least_source,
        "gpus": {name: _users(profile, quant, size) for name, size in CONTEXTS.items()},
        "scores": [score.model_dump() for score in profile.score] or UNKNOWN,
    }


def _users(profile: Profile, quant: Quantisation, context: int) -> dict[str, Any]:
    if profile.engine == "embedded":
        return {str(users): "CPU" for users in USERS}
    if profile.context is None or context > profile.context.most:
        return {str(users): "too long" for users in USERS}
    return {
        str(users): {str(gb): _count(fewest(profile, quant, gpu_gb=gb, context=context, users=users)) for gb in GPUS_GB}
        for users in USERS
    }


def _count(gpus: int | None) -> int | str:
    return UNKNOWN if gpus is None else gpus


def known(name: str) -> dict[str, Any]:
    """All that is known of a profile, its bugs in full; raises RequestRefused with the names there are."""
    facts = profile(name).model_dump(mode="json", exclude_defaults=True)
    for quant in facts.get("quantisation", []):
        quant.update({figure: quant.get(figure, UNKNOWN) for figure in ("revision", "weights_gb", "least_gb")})
    return {**facts, "bugs": [bugs()[bug].model_dump(mode="json") for bug in facts.get("bugs", [])]}


def cell(gpus: dict[str, Any] | str) -> str:
    """``1·1·1``: the counts for each size of GPU; ``-`` where eight do not do, ``?`` unknown, ``…`` too long."""
    if isinstance(gpus, str):
        return {"too long": "…"}.get(gpus, gpus)
    return "·".join({0: "-", UNKNOWN: "?"}.get(count, str(count)) for count in gpus.values())


def lines() -> list[str]:
    """The table for a terminal, and the published scores below it."""
    heads = ["profile", "quant", "weights GB", *(f"{name}×{users}" for name in CONTEXTS for users in USERS), "licence"]
    rows = [heads]
    for row in table():
        weights = str(row["weights_gb"]) if row["weights_gb"] != UNKNOWN else f"? (≥{row['least_gb']})"
        cells = [cell(row["gpus"][name][str(users)]) for name in CONTEXTS for users in USERS]
        licence = row["licence"]["value"] if isinstance(row["licence"], dict) else row["licence"]
        rows.append([row["profile"], row["quantisation"], weights.replace(f"≥{UNKNOWN}", UNKNOWN), *cells, licence])
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    shown = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*shown, "", *_legend(), "", *_scores()]


def _legend() -> list[str]:
    sizes = "·".join(map(str, GPUS_GB))
    return [
        f"8k×16: 16 users at once, each with a full context of 8k tokens; the fewest GPUs of {sizes} GB that hold it.",
        "- eight do not hold it   ? size of the weights unknown   … longer than the model reads   ≥ a recipe's minimum",
        "Counted, not measured; `sask models --json` has the sources, `sask models NAME` all that is known of one.",
    ]


def _scores() -> list[str]:
    told = [
        f"  {profile.name}: " + ", ".join(f"{score.benchmark} {score.value:g}" for score in profile.score)
        for profile in profiles().values()
        if profile.score
    ]
    return ["Scores as their makers publish them (the others: unknown to us):", *told]
