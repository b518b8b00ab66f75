//! Options of a training in several processes.

use clap::Args;

use crate::distributed::Collectives;
use crate::values;

#[derive(Debug, Args)]
#[command(next_help_heading = "Several processes")]
pub struct ProcessArgs {
    /// Train in N processes on this machine. It pays with several GPUs, one process each, or several
    /// NUMA nodes; on one processor, --threads in one process is as fast
    #[arg(long, value_name = "N", conflicts_with = "dry_run", value_parser = values::whole::<u16>(1..=1024))]
    pub nproc: Option<u16>,
    /// What carries gradients between processes
    #[arg(long, value_enum, default_value_t)]
    pub collectives: Collectives,
    /// How long processes wait until all have come
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = values::seconds)]
    pub join_timeout: f64,
    /// How long processes wait for each other while they train; one that ends is noticed at once
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = values::seconds)]
    pub collective_timeout: f64,
}
