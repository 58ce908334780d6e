"""What a model needs in GPU memory, and on how many GPUs it fits.

Per GPU, with tensor parallelism over ``tp`` of them:

    weights / tp                                                        the quantisation's files
    + users × (context × token + state)                                 the caches of ``users`` full contexts
    + ROOM_GB                                                           activations, CUDA graphs, NCCL

    token = 2 × attention layers × kv heads × head dim × bytes          keys and values of one token
    state = 2 × sliding layers × kv heads × head dim × bytes × window   (a sliding layer keeps its window alone)
          + Mamba layers × (heads × head dim × state × 4                the recurrent state, float32
                            + (heads × head dim + 2 × groups × state) × (conv - 1) × 2)

``kv heads`` are divided by ``tp`` down to one, below which vLLM copies them, Mamba states by ``tp``: vLLM's
``vllm/model_executor/models/nemotron_h.py`` and ``layers/mamba/mamba_utils.py`` (``mamba2_state_shape``); a hybrid's
Mamba and MoE layers keep no keys and values. vLLM takes a share of the GPU (``--gpu-memory-utilization``) for all that.
Prefix caching keeps more in what is left over, never more than there is. GB are 10^9 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from assistant.serving.profiles import Architecture, Profile, Quantisation

GB = 1e9
UTILISATION = 0.9
"""The share of a GPU that we let vLLM take (its own default has changed between versions)."""
ROOM_GB = 3.0
"""A judgement: vLLM measures it itself when it starts, and refuses when there is too little."""
COUNTS = (1, 2, 4, 8)
"""GPUs of one node over which tensor parallelism is tried."""


@dataclass(frozen=True, slots=True)
class Need:
    """GB on each of ``tp`` GPUs; ``sure`` is false where the weights are only a recipe's minimum."""

    tp: int
    weights: float
    cache: float
    sure: bool

    @property
    def total(self) -> float:
        return self.weights + self.cache + ROOM_GB

    def fits(self, gpu_gb: float) -> bool:
        return self.total <= gpu_gb * UTILISATION


def token_bytes(architecture: Architecture, kv_bytes: int, tp: int = 1) -> int:
    """Bytes of cache on one GPU for each token of a context."""
    heads = max(1, architecture.kv_heads // tp)
    return 2 * architecture.attention_layers * heads * architecture.head_dim * kv_bytes


def state_bytes(architecture: Architecture, kv_bytes: int, tp: int = 1) -> int:
    """Bytes of cache on one GPU for each sequence, however long it is."""
    a = architecture
    window = 2 * a.sliding_layers * max(1, a.kv_heads // tp) * a.head_dim * kv_bytes * a.sliding_window
    inner = a.mamba_heads * a.mamba_head_dim
    convolution = (inner + 2 * a.mamba_groups * a.mamba_state) * max(0, a.mamba_conv - 1) * 2
    return window + a.mamba_layers * (inner * a.mamba_state * 4 + convolution) // tp


def need(
    profile: Profile, quant: Quantisation, *, tp: int, context: int, users: int, measured_gb: float | None = None
) -> Need | None:
    """None where the size of the weights is not known; ``measured_gb`` are the files themselves."""
    weights = measured_gb or quant.loaded_gb
    if weights is None or profile.architecture is None:
        return None
    token = token_bytes(profile.architecture, quant.kv_bytes, tp)
    cache = users * (context * token + state_bytes(profile.architecture, quant.kv_bytes, tp)) / GB
    return Need(tp, weights / tp, cache, sure=bool(measured_gb or quant.weights_gb))


def fewest(profile: Profile, quant: Quantisation, *, gpu_gb: float, context: int, users: int) -> int | None:
    """The smallest number of such GPUs of one node that holds it; 0 if none does, None if nobody knows."""
    for tp in COUNTS:
        one = need(profile, quant, tp=tp, context=context, users=users)
        if one is None:
            return None
        if one.fits(gpu_gb):
            return tp
    return 0
