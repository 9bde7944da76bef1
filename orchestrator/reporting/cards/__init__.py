"""Model cards of exported trials."""
