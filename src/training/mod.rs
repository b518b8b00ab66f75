//! Fine-tuning: a graph with autograd, recipes, the loop, and runs that survive a crash.

pub mod callback;
mod check;
mod checkpoint;
mod config;
mod dry_run;
mod extend;
mod fit;
mod initial;
mod job;
mod lock;
mod network;
mod optimizer;
mod phase;
mod precision;
mod prepare;
mod profile;
pub mod recipe;
mod run;
mod schedule;
mod session;
mod settings;
mod source;
mod step;
mod tensors;
mod trainer;
mod validator;

pub use checkpoint::State;
pub use config::{Config, WeightsSource};
pub use dry_run::{DryRun, PhaseForecast, RunForecast};
pub use network::{Activations, Mode, Network};
pub use optimizer::{Algorithm, Gradients, Optimizer};
pub use precision::Precision;
pub use profile::{Bottleneck, Conditions, Profile, ProfileReport, WorkerSeconds};
pub use run::Run;
pub use session::{FinishedRun, TrainingSession};
pub use settings::Settings;
