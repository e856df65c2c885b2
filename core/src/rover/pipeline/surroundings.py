"""What all connections of a pipeline share."""

from __future__ import annotations

from rover.pipeline.decoders import Decoders
from rover.pipeline.delivery import Delivery
from rover.pipeline.memory import MemoryBudget
from rover.pipeline.outbox import Outbox
from rover.pipeline.processes import Processes
from rover.pipeline.recognition import Recogniser
from rover.pipeline.source_side import SourceSide
from rover.pipeline.totals import Totals


class Surroundings:
    """Each part does one thing, and knows none of the others."""

    __slots__ = (
        "budget",
        "decoders",
        "delivery",
        "outbox",
        "processes",
        "recogniser",
        "source",
        "totals",
    )

    def __init__(
        self,
        recogniser: Recogniser,
        decoders: Decoders,
        delivery: Delivery,
        source: SourceSide,
        budget: MemoryBudget,
        processes: Processes,
        totals: Totals,
    ) -> None:
        self.recogniser = recogniser
        self.decoders = decoders
        self.delivery = delivery
        self.outbox = Outbox(delivery, totals, False)
        """Of every connection that is built: it holds nothing."""
        self.source = source
        self.budget = budget
        self.processes = processes
        self.totals = totals
