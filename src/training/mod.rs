//! Fine-tuning: a graph with autograd, recipes, the loop, and runs that survive a crash.

mod check;
mod checkpoint;
mod extend;
mod fit;
mod lock;
mod network;
pub mod observe;
mod optimizer;
pub mod recipe;
mod run;
mod schedule;
mod settings;
mod start;
mod tensors;

pub use checkpoint::{Checkpoint, Header, State};
pub use fit::{Job, fit};
pub use network::{Mode, Network};
pub use optimizer::{Algorithm, Optimizer};
pub use run::Run;
pub use schedule::{Plateau, Schedule, Scheduler};
pub use settings::{Config, Precision, Settings};
pub use start::Start;
