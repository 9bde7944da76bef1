"""What is done with trained weights once a trial has ended; nothing yet."""
