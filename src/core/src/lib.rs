//! The pure decision core: observe in, plan out.
