"""Dynamic channel masking: a remaining ratio a convolution, learned in turn with the weights (arXiv 2010.12021)."""

from training.methods.channel_masking.method import ChannelMasking

__all__ = ["ChannelMasking"]
