"""Several clusters: which one a request is about."""

from __future__ import annotations

import re

from assistant.config import Settings, load
from assistant.errors import RequestRefused


def addressed(request: str, settings: Settings) -> tuple[str, Settings]:
    """The request without the words that name a cluster of the settings ("on alpha"), and that cluster's settings.

    Raises RequestRefused where it names two, or another than the one that was chosen by flag or environment.
    """
    if not settings.clusters:
        return request, settings
    names = "|".join(re.escape(name) for name in sorted(settings.clusters, key=len, reverse=True))
    words = re.compile(
        rf"(?:^|\s)(?:on|at|in|of|auf|sur|en|@)\s*(?:the\s+)?(?:cluster\s+)?({names})(?![\w.-])", re.IGNORECASE
    )
    spelt = {name.lower(): name for name in settings.clusters}
    said = sorted({spelt[found.lower()] for found in words.findall(request)})
    if not said or said == [settings.cluster]:
        return words.sub("", request).strip() or request, settings
    if len(said) > 1:
        raise RequestRefused(f"the request is about {' and '.join(said)}", "name one cluster at a time")
    if settings.cluster:
        raise RequestRefused(
            f"the request is about {said[0]}, the chosen cluster is {settings.cluster}", f"--cluster {said[0]}"
        )
    return words.sub("", request).strip(), load(model=settings.model, cluster=said[0])
