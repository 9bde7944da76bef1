"""The built-in offline world: controlled biographies and skills, and the tiny model pretrained on them.

In the manner of Allen-Zhu and Li, "Physics of Language Models 3.1" (arXiv 2309.14316): invented people
whose facts are told in many rewritten, permuted biographies; fine-tuning asks about one half of the
people and evaluation about the other half. Stays light: importing it imports no torch.
"""
