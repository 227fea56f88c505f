"""What the report of an experiment is made of: its contents, and the page that shows them."""
