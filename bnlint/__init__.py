"""bnlint finds the ways a PyTorch project can misuse Batch Normalization."""

__version__ = "0.1.0"
