"""The `cpu` backend: Numba and nothing else. `kernels.reference` says what each kernel means."""

# ruff: noqa: F401  (every function that is imported here is a kernel, or plans one's scratch)

from ..device import NUMPY, Device
from . import threads  # first: it asks for a compiler, and loads the thread pool
from .activations import activation_backward, activation_forward
from .context import complex_contract, complex_expand, context_gradient, context_multiply
from .conv import (
    conv2d_accumulate,
    conv2d_forward,
    conv2d_input_grad,
    conv2d_sample_grads,
    conv2d_signal,
    conv2d_tangent,
    conv2d_weight_grad,
    conv2d_workspace,
)
from .dense import (
    dense_accumulate,
    dense_backward,
    dense_forward,
    dense_sample_grads,
    dense_signal,
    dense_tangent,
    matmul_nn,
    matmul_nt,
    matmul_tn,
    superposed_backward,
    superposed_forward,
)
from .images import (
    add,
    copy,
    divide,
    dropout,
    fill,
    gather_rows,
    residual_forward,
    residual_tangent,
    scale,
    shift_flip,
)
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
from .pool import (
    average_pool_backward,
    average_pool_forward,
    max_pool_backward,
    max_pool_forward,
    max_pool_tangent,
)
from .sparse import sparse_dense_forward
from .update import (
    adadelta_update,
    adam_update,
    momentum_update,
    penalty_gradient,
    rmsprop_update,
    sgd_update,
)
from .weighted import label_weights, weigh_losses, weighted_mean

NAME = "cpu"
device: Device = NUMPY
