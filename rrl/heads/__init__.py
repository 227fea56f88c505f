"""Linear heads on cached features: every weight decay and learning rate of a sweep at once."""
