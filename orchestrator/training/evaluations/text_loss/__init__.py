"""Kind `text_loss`."""
