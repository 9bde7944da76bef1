"""Few entries or coefficients of the change of the weight matrices."""

from __future__ import annotations

from orchestrator.spec.methods.entry import ALL_LINEAR, MethodEntry

SPARSE_ENTRIES: dict[str, MethodEntry] = {
    "c3a": MethodEntry(
        "sparse", "block-circular convolutions", 0.3, "bench 0.3: 48.7 %", "C3AConfig", ALL_LINEAR, starts=False
    ),
    "fourierft": MethodEntry(
        "sparse",
        "few Fourier coefficients of the change",
        3e-3,
        "bench 1e-4: 0.0 %; paper",
        "FourierFTConfig",
        {"init_weights": True, **ALL_LINEAR},  # peft's own default is random and huge on small matrices
    ),
    "waveft": MethodEntry(
        "sparse",
        "few wavelet coefficients of the change",
        3e-4,
        "bench 1e-4: 40.3 %; raised",
        "WaveFTConfig",
        ALL_LINEAR,
    ),
    "shira": MethodEntry(
        "sparse", "a sparse set of weight entries", 3e-4, "bench 3e-4: 51.0 %", "ShiraConfig", {"r": 16, **ALL_LINEAR}
    ),
    "supertuning": MethodEntry(
        "sparse", "the entries of largest magnitude", 3e-4, "assumed from shira", "SupertuningConfig", ALL_LINEAR
    ),
}
