//! The controller: observe, decide, execute.

fn main() {}
