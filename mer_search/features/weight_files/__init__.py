"""Weight files as others wrote them: their formats, and the names they give to the layers."""
