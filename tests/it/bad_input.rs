//! What people give a program by mistake or malice: one clear line, the right exit code, and
//! nothing lost.

mod data;
mod files;
mod machine;
mod mistakes;
mod options;
