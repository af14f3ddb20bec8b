"""Content that is assembled from approved blocks: which assemblies may be sent, and how one is decided."""
