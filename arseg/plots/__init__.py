"""Figures: score curves from the tidy table, and a panel of pictures from clips and networks.

Everything is drawn with Matplotlib's object interface, so that nothing depends on a display or on global
state.
"""
