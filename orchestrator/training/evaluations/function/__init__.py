"""A scorer of the user's own: a function of answers and references, or of model, tokenizer and rows."""
