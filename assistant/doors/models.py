"""``sask models``: what there is to choose from, what each needs and scores, and all that is known of one."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    name: Annotated[str | None, typer.Argument(help="a profile: everything that is known of it")] = None,
    json: Annotated[bool, typer.Option("--json", help="print one JSON document")] = False,
) -> None:
    """Compare the models: licence, memory, the GPUs that hold them, published scores; each with its source."""
    from assistant.doors.render import console, print_json, show_data
    from assistant.serving import models

    if name is not None:
        facts = models.known(name)
        print_json(facts) if json else show_data(facts, console(), indent="")
    elif json:
        print_json({"models": models.table()})
    else:
        print("\n".join(models.lines()))
