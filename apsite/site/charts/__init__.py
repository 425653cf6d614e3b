"""Charts: palette, specifications, curves, and the drawings that the build makes of them."""
