"""What a kind of evaluation is given and gives, and what several kinds share."""
