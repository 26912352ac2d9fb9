"""The run engine: a live model is run on a few batches, and what its BatchNorm layers do becomes facts."""
