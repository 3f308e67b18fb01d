//! Benches; nothing to link with.
