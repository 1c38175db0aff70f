//! What goes wrong, and what must not follow from it.
