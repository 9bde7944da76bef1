"""What follows the search: audit of stopped trials, repeats of the best, and the winner."""
