"""Score tables compiled from weights of Vowpal Wabbit, and the kernels that read them."""
