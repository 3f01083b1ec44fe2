"""A simulated outdoor and coffee shop: catalogue, visitors, events and the truth behind them.

Nothing in it is real: no shop, brand, person or purchase. It is the demo's input, the tests' ground
truth and the load generator of the benchmarks.
"""

from __future__ import annotations

from bench.shop.events import Faults, SimEvent
from bench.shop.scale import Interactions, Scale
from bench.shop.scripted import ScriptedVisitor
from bench.shop.shop import Shop, Truth
from bench.shop.stream import VisitTruth

__all__ = ["Faults", "Interactions", "Scale", "ScriptedVisitor", "Shop", "SimEvent", "Truth", "VisitTruth"]
