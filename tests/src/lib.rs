//! The real system on a real Docker Engine: see `tests/`.
