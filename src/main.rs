//! Starts `flowers`: parse, dispatch, exit code.

fn main() {}
