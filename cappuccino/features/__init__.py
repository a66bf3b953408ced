"""Features: what an agent sees of each symbol at each bar, the same code for training and for trading.

`spec.FeatureSpec` says which columns, `compute.compute` makes them for a whole panel,
`compute.compute_latest` for the newest bar (bit-equal), `scaler.Scaler` brings them to one scale. Every other
file is one family of columns.
"""
