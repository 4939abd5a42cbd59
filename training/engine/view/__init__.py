"""The view of a run in a terminal, and what it counts."""

from training.engine.view.live_view import LiveView

__all__ = ["LiveView"]
