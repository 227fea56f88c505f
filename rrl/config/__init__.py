"""What a config may say, and the plan that follows from it. Nothing here imports torch before it must."""
