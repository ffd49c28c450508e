"""Training: supervised fine-tuning, preferences, reward models, reinforcement; metrics and checkpoints."""
