"""Networks: architectures, the formats that others keep them in, and how they are kept here."""
