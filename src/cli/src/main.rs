//! The kubectl plugin, the simulator and the demo.

fn main() {}
