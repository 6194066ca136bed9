"""The `exact` backend: the cpu backend's bits, one rounding after another, in plain NumPy.

`reference` says what a kernel means; this says which float32 or float64 numbers come out. Every sum
over more than one term has a written order, every fma is written as one, and nothing depends on
vectors, threads or which batch a sample is in (docs/order.md). It loops in Python over the index
that is summed over and is slow: it is for checking.
"""

# ruff: noqa: F401  (every function that is imported here is a kernel, or plans one's scratch)

from ..device import NUMPY, Device
from ..reference import (
    add,
    context_multiply,
    conv2d_workspace,
    copy,
    dense_sample_grads,
    divide,
    dropout,
    fill,
    gather_rows,
    max_pool_backward,
    max_pool_forward,
    max_pool_tangent,
    scale,
    shift_flip,
    weigh_losses,
)
from .activations import activation_backward, activation_forward
from .context import complex_contract, complex_expand, context_gradient
from .conv import (
    conv2d_accumulate,
    conv2d_forward,
    conv2d_input_grad,
    conv2d_sample_grads,
    conv2d_signal,
    conv2d_tangent,
    conv2d_weight_grad,
)
from .dense import (
    dense_accumulate,
    dense_backward,
    dense_forward,
    dense_signal,
    dense_tangent,
    matmul_nn,
    matmul_nt,
    matmul_tn,
    superposed_backward,
    superposed_forward,
)
from .images import residual_forward, residual_tangent
from .losses import (
    mean_loss,
    softmax,
    softmax_backward,
    softmax_cross_entropy,
    softmax_fisher_factor,
    squared_error,
)
from .norm import (
    norm_accumulate,
    norm_backward,
    norm_forward,
    norm_moments,
    norm_sample_grads,
    norm_signal,
    norm_statistics,
    norm_tangent,
)
from .pool import average_pool_backward, average_pool_forward
from .sparse import sparse_dense_forward
from .update import (
    adadelta_update,
    adam_update,
    momentum_update,
    penalty_gradient,
    rmsprop_update,
    sgd_update,
)
from .weighted import label_weights, weighted_mean

NAME = "exact"
device: Device = NUMPY
