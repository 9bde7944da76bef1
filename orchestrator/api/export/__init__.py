"""``export``: a trained trial as a Hugging Face folder."""
