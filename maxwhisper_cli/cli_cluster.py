"""Options of runs on many machines."""

from typing import Annotated

import typer

_CLUSTER = "Many machines"

Shard = Annotated[
    str | None,
    typer.Option(
        "--shard", metavar="I/N", help="Do part I of N of a manifest.", rich_help_panel=_CLUSTER
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster", metavar="ADDRESS", help="Ray cluster that works: auto or its address.",
        rich_help_panel=_CLUSTER,
    ),
]  # fmt: skip
PricePerHour = Annotated[
    float | None,
    typer.Option(
        "--price-per-hour", min=0, metavar="PRICE", help="Price of one worker, for the cost.",
        rich_help_panel=_CLUSTER,
    ),
]  # fmt: skip
