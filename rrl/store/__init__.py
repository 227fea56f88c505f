"""What lies on the disk, and how it proves what it is: cards, features, logits, records, code versions."""
