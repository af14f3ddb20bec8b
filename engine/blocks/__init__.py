"""Modular content: arms assembled from approved blocks, decided, logged and judged without listing the assemblies."""
