"""The stopping rules, one file each: options, what they look at, when they stop a trial, and the reason they give."""
