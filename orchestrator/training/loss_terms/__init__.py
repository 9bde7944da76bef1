"""Terms added to the training loss, one file and one entry each; none yet beside those that methods bring."""
