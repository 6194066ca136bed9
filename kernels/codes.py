"""The numbers by which kernels know an activation: compiled code cannot compare strings cheaply."""

IDENTITY, RELU, LEAKY_RELU, TANH, SIGMOID = range(5)

ACTIVATIONS = {
    "identity": IDENTITY,
    "relu": RELU,
    "leaky_relu": LEAKY_RELU,
    "tanh": TANH,
    "sigmoid": SIGMOID,
}
