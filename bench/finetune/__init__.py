"""Fine-tuning of text classifiers, by the recipe of the paper."""
