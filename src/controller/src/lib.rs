//! The controller: observe, decide, execute.
