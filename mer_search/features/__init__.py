"""Frames -> embeddings, once. The contents page; nothing is imported here.

`extract` fills the cache and embeds single videos, `assemble` reads a FeatureSet from the cache.

Below them, in the order of the data: `frames` reads pictures, `align` places the face, `evidence`
and `keyframes` choose frames, `weights` (with `weight_files`), `networks` and
`backbones` embed them; `plan` names what is needed, `placing` and `filling` compute it, `cache`
keeps it.
"""
