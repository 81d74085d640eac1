"""Figures: score curves from the tidy table, and a panel of pictures from clips and networks.

Everything is drawn with Matplotlib's object interface, so that nothing depends on a display or on global
state.
"""

from arseg.plots.curves import accuracy_by_cost, miou_by_distance

__all__ = ["accuracy_by_cost", "miou_by_distance"]
