//! The one entry point for whoever works on the project.

fn main() {}
