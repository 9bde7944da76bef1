"""The table of fine-tuning methods: names, options, learning-rate ranges. No torch, no peft."""
