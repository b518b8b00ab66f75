//! Several processes that train one network: PyTorch's own collectives (c10d) over Gloo or NCCL, joined
//! by the environment variables of the usual launchers.

mod ffi;
mod group;
mod joining;
mod lost;
mod meeting;
mod place;
mod share;
mod slurm;
mod store;
mod told;
mod watch;

pub use group::Group;
pub use joining::Collectives;
pub(crate) use joining::{Terms, Timeouts, join};
pub(crate) use lost::Lost;
pub(crate) use meeting::Hub;
pub(crate) use place::Place;
pub(crate) use share::Share;
