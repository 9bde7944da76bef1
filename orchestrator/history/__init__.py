"""A sweep read back from its folder or from MLflow; needs no driver, no Ray and no torch."""
