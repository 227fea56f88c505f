"""Networks: architectures by name, and the files that networks come from and are kept in."""
