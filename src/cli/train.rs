//! Arguments of `flowers train`.

use std::path::PathBuf;

use clap::Args;

use super::data::SourceArgs;
use super::paths;
use super::processes::ProcessArgs;
use crate::training::Settings;

#[derive(Debug, Args)]
#[command(after_help = "\
The run folder will hold model.safetensors (the best epoch), report.html, confusion_matrix.png, \
training_curves.png, metrics.json, profile.json (where the time went), history.csv, TensorBoard events, train.log, split.json, \
config.toml and last.ckpt.

Before training, each photo is read and decoded once, a large JPEG at reduced size: unreadable and \
damaged photos, duplicates and near-duplicates are found then. The results are kept in the user's \
cache folder (flowers/scans, or FLOWERS_CACHE/scans; safe to delete), so that the next run reads new \
and changed photos only. Decoded photos of --cache disk are in flowers/decoded, or FLOWERS_CACHE/decoded, \
also safe to delete. Each photo is checked against the scan when it is loaded: one that \
has changed or disappeared stops the run; one that can't be decoded is skipped and counts towards --max-bad.

Several processes train one network, on one machine (--nproc) or many: torchrun, Kubeflow's PyTorchJob, \
mpirun and srun start them, and tell them by RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and \
MASTER_PORT, or by the variables of Open MPI and Slurm. --batch-size is that of all together, \
--threads and --workers are those of a machine.

Examples:
  flowers train photos --out run
  flowers train photos --out run --arch mobilenet_v2 --recipe two-phase
  flowers train photos --dry-run --arch resnet50
  flowers train --train-dir photos/a --test-dir photos/b --out run
  flowers train photos --labels labels.csv --out run
  flowers train photos --out again --config run/config.toml --seed 1
  flowers train --resume run
  flowers train --resume run --epochs 40
  flowers train photos --out run --nproc 4
  torchrun --no-python --standalone --nproc-per-node 4 --max-restarts 3 \\
      flowers train photos --out run --resume-or-start")]
pub struct TrainArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    /// Folder for the results; must be new or empty
    #[arg(long, value_name = "RUN", required_unless_present_any = ["resume", "dry_run"])]
    pub out: Option<PathBuf>,
    /// Continue a run where it was saved, with its own configuration; --epochs may be changed
    #[arg(long, value_name = "RUN", value_parser = paths::run(), conflicts_with_all = ["out", "config", "split", "dry_run"])]
    pub resume: Option<PathBuf>,
    /// Resume the run in --out if it has a checkpoint, else start it: for launchers that repeat a command
    #[arg(long, requires = "out", conflicts_with_all = ["resume", "dry_run"])]
    pub resume_or_start: bool,
    /// TOML file with any of the options below; the command line takes precedence
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Split manifest to use, e.g. split.json of another run
    #[arg(long, value_name = "FILE")]
    pub split: Option<PathBuf>,
    /// Measure a few steps of each phase, tell what the whole run will take, and save nothing but the
    /// scan in the cache folder
    #[arg(long)]
    pub dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten)]
    pub processes: ProcessArgs,
}
