"""Early dynamics: features of the training signals, and the rules that judge by them."""
