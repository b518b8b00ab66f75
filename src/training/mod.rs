//! Fine-tuning: a graph with autograd, recipes, the loop, and runs that survive a crash.

pub mod callback;
mod check;
mod checkpoint;
mod config;
mod extend;
mod features;
mod fit;
mod head;
mod initial;
mod job;
mod lock;
mod network;
mod optimizer;
mod phase;
mod precision;
pub mod recipe;
mod run;
mod schedule;
mod session;
mod settings;
mod solver;
mod source;
mod step;
mod tensors;
mod trainer;
mod validator;

pub use checkpoint::State;
pub use config::{Config, WeightsSource};
pub use network::{Activations, Mode, Network};
pub use optimizer::{Algorithm, Gradients, Optimizer};
pub use precision::Precision;
pub use run::Run;
pub use session::{FinishedRun, TrainingSession};
pub use settings::Settings;
