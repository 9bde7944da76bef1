"""From files, folders and hub ids to tokenised rows in the order in which a trial sees them."""
